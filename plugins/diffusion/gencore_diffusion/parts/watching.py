"""Looking on while a sampler runs: the noisy states at which it asks the model, and what the model takes them for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gencore import Noise
from gencore.config import check
from gencore.evaluation_mode import evaluating
from gencore_diffusion.parts.parametrization import Scalings, column, preserving_scale, to_x0

if TYPE_CHECKING:
    from gencore_diffusion.parts.denoiser import Denoises


class Watched:
    """`model`, which keeps each state x (count, ...) that it is asked at, as of standard deviation about 1, and its
    x0. Give it to any sampler. Under guidance, x0 is that with the label."""

    def __init__(self, model: Denoises, count: int) -> None:
        self.model, self.count = model, count
        self.data_shape, self.preserves_variance = model.data_shape, model.preserves_variance
        self.sigma_min, self.sigma_max = model.sigma_min, model.sigma_max
        self.seen: list[tuple[Tensor, Tensor]] = []

    def scalings(self, sigma: Tensor) -> Scalings:
        """The model's."""
        return self.model.scalings(sigma)

    def labels(self, condition: Tensor | None, count: int) -> Tensor | None:
        """The model's."""
        return self.model.labels(condition, count)

    def grid(self, steps: int) -> list[float]:
        """The model's."""
        return self.model.grid(steps)

    def predict(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """The model's, noted down."""
        made = self.model.predict(x, sigma, labels)
        own = slice(0, self.count)
        clean = to_x0(made[:, : x.shape[1]], x, self.model.scalings(sigma))
        state = x * column(preserving_scale(sigma), x)
        self.seen.append((state[own].cpu(), clean[own].cpu()))
        return made


def watch(
    model: Any, n: int, *, frames: int = 8, seed: int = 0, condition: Any = None, sampler: Any = None, **options: Any
) -> Tensor:
    """What `model.sample(n, ...)` goes through: (n, 2, frames, *data_shape), the states above what the model takes them
    for, at `frames` of the sampler's questions from the first to the last, evenly chosen; fewer where it asks less.

    Raises as Model.sample does, and GencoreError for fewer than two frames."""
    check(frames >= 2, "frames", frames, "at least 2")
    check(n >= 1, "n", n, "at least 1")
    told = model.check_condition(condition, n)
    chosen = model.choose_sampler(sampler, options)
    watched = Watched(evaluating(model), n)
    noise = Noise(seed, 0, n, device=model.device, dtype=model.dtype)
    with torch.no_grad():
        chosen.sample(watched, noise, condition=None if told is None else told.to(model.device))
    places = torch.linspace(0, len(watched.seen) - 1, min(frames, len(watched.seen))).round().long().tolist()
    pairs = [torch.stack(watched.seen[place], 1) for place in places]
    return torch.stack(pairs, 2)
