"""Distributions that are known exactly: what a generative model learns of them can be computed."""

from __future__ import annotations

import math

import torch

from gencore.data.opening_rules import refuse, shorten
from gencore.data.options import OpenOptions, Split
from gencore.data.source import Source
from gencore.data.sources.memory import InMemory
from gencore.data.streams import Use, normals
from gencore.errors import GencoreError

NUM_EXAMPLES = 50_000


def ring(num_examples: int = NUM_EXAMPLES, *, num_modes: int = 8, std: float = 0.02, seed: int = 0) -> InMemory:
    """Gaussians of standard deviation `std` at equal angles on the unit circle; shape (2,), label = mode.

    Example i lies in mode i % num_modes, and depends on (seed, i) alone.
    """
    _check(num_examples, std)
    if num_modes < 1:
        raise GencoreError(f"num_modes is {num_modes}; expected at least 1.")
    mode = torch.arange(num_examples) % num_modes
    angle = mode.double() * (2 * math.pi / num_modes)
    noise = normals(seed, 0, 2 * num_examples, Use.TABLE).view(num_examples, 2)
    x = torch.stack([angle.cos(), angle.sin()], dim=1) + std * noise
    return InMemory(x=x.float(), label=mode, num_classes=num_modes, name=f"ring of {num_modes} Gaussians")


def gaussian(mean: float = 0.0, std: float = 1.0, num_examples: int = NUM_EXAMPLES, *, seed: int = 0) -> InMemory:
    """Normal numbers of shape (1,), without labels. Example i depends on (seed, i) alone."""
    _check(num_examples, std)
    if not math.isfinite(mean):
        raise GencoreError(f"mean is {mean}; expected a finite number.")
    x = mean + std * normals(seed, 0, num_examples, Use.TABLE)[:, None]
    return InMemory(x=x.float(), name=f"gaussian (mean {mean:g}, std {std:g})")


def ring_of_split(split: Split) -> InMemory:
    """The ring; other draws for "test"."""
    return ring(seed=int(split == "test"))


def gaussian_of_split(split: Split) -> InMemory:
    """The standard normal distribution; other draws for "test"."""
    return gaussian(seed=int(split == "test"))


def dirac_of_split(split: Split) -> Source:
    """All mass at 0, in every split."""
    from gencore.data.toys.dirac import dirac

    return dirac()


def open_gaussian(argument: str, options: OpenOptions) -> InMemory:
    """gaussian:MEAN,STD. Raises GencoreError for anything else after the colon, and for options of pictures."""
    spec = f"gaussian:{argument}"
    refuse(options, spec, "skip_corrupt", "data_range", "column", "image_size")
    if not argument:
        return gaussian_of_split(options.split)
    try:
        mean, std = (float(number) for number in argument.split(","))
    except ValueError as error:
        raise GencoreError(
            f"{shorten(spec)} is not understood; expected gaussian:MEAN,STD, such as gaussian:3,1."
        ) from error
    return gaussian(mean, std, seed=int(options.split == "test"))


def _check(num_examples: int, std: float) -> None:
    if num_examples < 1:
        raise GencoreError(f"num_examples is {num_examples}; expected at least 1.")
    if not (std >= 0 and math.isfinite(std)):
        raise GencoreError(f"std is {std}; expected a finite number, 0 or more.")
