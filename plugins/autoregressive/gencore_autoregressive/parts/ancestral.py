"""Drawing one number after the other, whatever the numbers are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

from gencore.config import check
from gencore.noise import Noise


class Drawing(Protocol):
    """Examples that are being drawn."""

    @property
    def places(self) -> Sequence[Any]:
        """Where the numbers stand, in their order."""
        ...

    def logits(self, place: Any) -> Tensor:
        """(N, K): of the number at that place, given all before it."""
        ...

    def put(self, place: Any, code: Tensor) -> None:
        """It is `code` (N,) int64."""
        ...

    def result(self) -> Tensor:
        """The examples, (N, ...)."""
        ...


def choose(logits: Tensor, noise: Noise, temperature: float) -> Tensor:
    """logits (N, K) -> a draw, (N,) int64; at temperature 0 the likeliest."""
    return noise.categorical(logits / temperature) if temperature else logits.argmax(-1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AncestralSampler:
    """Every number from its distribution given those before it, in the model's order.

    `temperature` divides the logits: below 1 likely values become likelier, 0 takes the likeliest. `cached`: each layer
    keeps what it has computed; without, the network runs over the whole example for every number, to the same end.
    """

    temperature: float = 1.0
    cached: bool = True

    def __post_init__(self) -> None:
        check(0 <= self.temperature < float("inf"), "temperature", self.temperature, "a finite number, 0 or more")

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """One example for each stream of noise. `model.start(n, condition, cached=)` returns a Drawing."""
        drawing: Drawing = model.start(noise.count, condition, cached=self.cached)
        for step, place in enumerate(drawing.places):
            drawing.put(place, choose(drawing.logits(place), noise, self.temperature))
            if callback:
                callback(step + 1, len(drawing.places))
        return drawing.result()
