"""A density of pictures by its system's name, as a part of another model: a prior over grids of codes, or a decoder's
pixels. Whoever asks for one need not import its family.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gencore.api import create
from gencore.config import replace
from gencore.errors import GencoreError
from gencore.nn.levels import to_levels
from gencore.noise import NoiseSource
from gencore.registry import default_registry


def picture_density(system: str, **fields: Any) -> Any:
    """A new, untrained model of `system` whose config has these fields: a density, log_prob(x, condition=), of pictures
    of whole numbers, which `levels` says how many there are (gencore.nn.levels).

    Raises UnknownNameError for an unknown system, GencoreError for one that is no such density, or lacks a field.
    """
    spec, kind = default_registry().owner(system)[1], default_registry().resolve(system, "model")
    names = {field.name for field in dataclasses.fields(kind.config_class)}
    if "log-prob" not in spec.traits or "levels" not in names:
        raise GencoreError(f"{system} is no density of pictures of levels; expected one, such as gated-pixelcnn.")
    return create(system, **fields)


@torch.no_grad()
def draw_levels(
    density: Any,
    noise: NoiseSource,
    *,
    condition: Tensor | None = None,
    callback: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Tensor:
    """Whole numbers (N, *data_shape) int64 of a density, by its own sampler with these `options`; callback(step, steps)
    follows it."""
    sampler = replace(density.default_sampler(), options)
    x = sampler.sample(density, noise, condition=condition, callback=callback)
    return to_levels(x, density.config.levels, "nearest")
