"""One step of a sampler as a function of tensors alone, for graphs that run without Python (gencore.export).

With F the network's output at (scale x, level), a row of the table gives
    x0   = clamp(skip x + out F, -radius, radius)
    next = p0 x0 + px x + other noise
and sampling is a loop over the rows, from x = spread * N(0, 1); `spread` is about x's standard deviation at each row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from gencore.errors import GencoreError

COLUMNS = ("scale", "level", "skip", "out", "p0", "px", "other", "radius")
UNBOUNDED = 1e30
"""The radius of no clamp: JSON has no infinity."""


class Step(nn.Module):
    """(x (N, ...), row (8,), noise (N, ...), label (N,)) -> the next x."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, row: Tensor, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """The module's two equations."""
        scale, level, skip, out, p0, px, other, radius = row.unbind()
        made = self.network(scale * x, level.expand(x.shape[0]), label)
        clean = torch.minimum(torch.maximum(skip * x + out * made, -radius), radius)
        return p0 * clean + px * x + other * noise


def step_graph(model: Any, sampler: Any) -> tuple[Step, Callable[..., Tensor], dict[str, Any]]:
    """The step, the same by the sampler itself, and the table with what a user of it needs.

    Raises GencoreError for a sampler that evaluates the model otherwise than once a step, for guidance and thresholds,
    and for a model that learns its variance.
    """
    if not (hasattr(sampler, "step") and hasattr(sampler, "stepper")):
        raise GencoreError(f"{type(sampler).__name__} takes more than one evaluation a step: export ddim or euler.")
    if sampler.guidance != 1.0 or sampler.threshold is not None:
        raise GencoreError("A step is exported without guidance and without a threshold: leave both out.")
    if getattr(model, "learns_variance", False):
        raise GencoreError("This model learns the variance of its steps, which the table cannot hold.")
    sigmas = sampler.sigmas(model)
    plan = [sampler.step(*pair) for pair in pairwise(sigmas)]
    asked = torch.tensor([step.sigma for step in plan], dtype=torch.float64)
    scale, level = (numbers.tolist() for numbers in model.told(asked))
    skip, out = (numbers.tolist() for numbers in model.scalings(asked))
    radius = UNBOUNDED if sampler.clip is None else sampler.clip
    rows = [[scale[k], level[k], skip[k], out[k], step.p0, step.px, step.other, radius] for k, step in enumerate(plan)]
    spread = [math.hypot(1.0, sigma) if model.preserves_variance else sigma for sigma in sigmas[:-1]]
    places = {tuple(torch.tensor(row, dtype=torch.float32).tolist()): place for place, row in enumerate(rows)}

    def ours(x: Tensor, row: Tensor, noise: Tensor, label: Tensor | None = None) -> Tensor:
        place = places[tuple(row.tolist())]
        return sampler.stepper(model, x, sigmas, label)(x, place, noise if plan[place].other else None)

    told = {
        "sampler": type(sampler).__name__,
        "spread": spread,
        "columns": list(COLUMNS),
        "rows": rows,
        "null_label": model.config.num_classes,
        "use": "x = spread[0] * N(0, 1); for row in rows: x = next(x, row, N(0, 1)); an image is (x + 1) / 2",
    }
    return Step(model.network), ours, told
