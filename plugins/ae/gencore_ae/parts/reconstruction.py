"""The objective that the family shares: rebuild x from the code of x, or of a corrupted x, plus penalties.

    E_x [ L(x, g(f(c(x)))) + sum of penalties ]
in the phase "autoencoder", L from gencore_ae.parts.losses, summed over an example's numbers, averaged over the batch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from gencore import Loss, Objective, Phase, Stage
from gencore.config import check
from gencore.errors import GencoreError
from gencore.optimizers import OptimizerConfig
from gencore_ae.parts.losses import Error, reconstruction_error


class Penalty(Protocol):
    """A term that looks at the code, or at the encoder as a function."""

    def __call__(self, model: Any, x: Tensor, code: Tensor) -> Loss:
        """The weighted penalty, a scalar. x (N, *data_shape) is what was encoded, code (N, code_dim) came out."""
        ...


class Reconstruction(Objective):
    """`corrupt` sees x in training alone; the target is always the clean x. `after(model)` follows every step.

    Logs `reconstruction`, and what its penalties log.
    """

    def __init__(
        self,
        *,
        error: Error = "squared",
        corrupt: Callable[[Tensor], Tensor] | None = None,
        penalties: tuple[Penalty, ...] = (),
        after: Callable[[Any], None] | None = None,
        double_backward: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.error, self.corrupt, self.penalties, self.after = error, corrupt, penalties, after
        self.double_backward = double_backward

    def autoencoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"]."""
        x = batch["x"]
        seen = self.corrupt(x) if self.corrupt else x
        code = model.encode(seen)
        total = reconstruction_error(model, code, x, self.error).mean()
        metrics = {"reconstruction": total}
        for penalty in self.penalties:
            term = penalty(model, seen, code)
            total = total + term.total
            metrics |= term.metrics
        return Loss(total, metrics)

    encoder = decoder = autoencoder
    """Phases that train one of the two alone."""

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Apply `after`."""
        if self.after:
            self.after(model)


def one_phase(
    objective: Objective,
    optimizer: OptimizerConfig,
    *,
    steps: int,
    schedule: Callable[[int], float] | None = None,
) -> tuple[Stage, ...]:
    """One stage in which one phase trains encoder and decoder together."""
    phase = Phase(name="autoencoder", parts=("encoder", "decoder"), optimizer=optimizer, schedule=schedule)
    return (Stage(name="autoencoder", objective=objective, phases=(phase,), steps=steps),)


def cosine(steps: int, warm_up: int = 0) -> Callable[[int], float]:
    """A schedule: the rate falls from 1 to 0 along half a cosine over `steps` iterations, in the first `warm_up` of
    which it also rises from 0 in a line."""

    def rate(step: int) -> float:
        falling = 0.5 * (1 + math.cos(math.pi * min(step, steps) / max(steps, 1)))
        return falling * min(1.0, (step + 1) / (warm_up + 1))

    return rate


def check_error(error: Error, data_shape: tuple[int, ...]) -> None:
    """Raise GencoreError for an unknown error, or the Bernoulli error on data that are no images in [-1, 1]."""
    if error not in ("squared", "bernoulli"):
        raise GencoreError(f'error is {error!r}; expected "squared" or "bernoulli".')
    if error == "bernoulli" and len(data_shape) != 3:
        raise GencoreError(
            f'error is "bernoulli" for data of shape {data_shape}; it is for images (C, H, W) in [-1, 1]. Take '
            '"squared".'
        )


def judged_by(error: Error, config: Any) -> Any:
    """`config` with the output that the error is of: logits for "bernoulli", the data's own numbers for "squared".

    Raises GencoreError for an error that does not fit the data, and for another output that was asked for.
    """
    check_error(error, config.data_shape)
    wanted = "logit" if error == "bernoulli" else "linear"
    check(config.output in ("linear", wanted), "output", config.output, f'"{wanted}", for error="{error}"')
    return dataclasses.replace(config, output=wanted)
