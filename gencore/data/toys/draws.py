"""Random numbers of the toys: a hash of (seed, index, column), so that any examples can be drawn in any order.

`gencore.data.streams` reads a stream from its start; a renderer asks for single rows, thousands at a time. The hash is
three rounds of xor-shift and multiply, modulo 2**32 (constants of C. Wellons' hash-prospector); 24 bits of it are kept.
Column c of one module and column c of another hold the same numbers under one seed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gencore.data.streams import derived_seed
from gencore.errors import GencoreError

SPLITS = ("train", "test")

_MASK = (1 << 32) - 1
_OF_INDEX, _OF_SEED, _OF_COLUMN, _START = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F
_ROUNDS = ((16, 0x7FEB352D), (15, 0x045D9F3B), (16, 0x119DE1F3), (15, 0x3C6EF372), (16, 1))


def split_seed(seed: int, split: str) -> int:
    """The seed of a split: `seed` itself for "train", one derived from it for "test". Raises GencoreError."""
    if split not in SPLITS:
        raise GencoreError(f"split is {split!r}; expected one of {', '.join(SPLITS)}.")
    if not 0 <= seed < 2**64:
        raise GencoreError(f"seed is {seed}; expected an integer from 0 to 2**64 - 1.")
    return seed if split == "train" else derived_seed(seed, 1)


def _bits(seed: int, index: Tensor, first: int, count: int) -> npt.NDArray[np.uint32]:
    """(N, count) integers below 2**24: columns first ... first + count - 1 of the rows `index`, (N,) int64."""
    rows = index.numpy().astype(np.uint32)[:, None] * np.uint32(_OF_INDEX)
    offsets = [(seed * _OF_SEED + column * _OF_COLUMN + _START) & _MASK for column in range(first, first + count)]
    mixed = rows + np.array(offsets, dtype=np.uint32)
    for shift, factor in _ROUNDS:
        mixed ^= mixed >> np.uint32(shift)
        mixed *= np.uint32(factor)
    mixed >>= np.uint32(8)
    return mixed


def uniforms(seed: int, index: Tensor, first: int, count: int) -> Tensor:
    """(N, count) float32 in [0, 1), multiples of 2**-24."""
    return torch.from_numpy(_bits(seed, index, first, count).astype(np.float32)) / 2**24


def uniform(seed: int, index: Tensor, column: int) -> Tensor:
    """(N,) float32 in [0, 1)."""
    return uniforms(seed, index, column, 1)[:, 0]


def normals(seed: int, index: Tensor, first: int, count: int) -> Tensor:
    """(N, count) float32, standard normal: the inverse distribution function of the middles of 2**24 cells."""
    middles = torch.from_numpy(_bits(seed, index, first, count).astype(np.float64)) + 0.5
    return torch.special.ndtri(middles / 2**24).float()


def integers(seed: int, index: Tensor, column: int, count: int) -> Tensor:
    """(N,) int64 in [0, count)."""
    return (uniform(seed, index, column) * count).long()


def poisson_quantiles(u: Tensor, mean: Tensor) -> Tensor:
    """The least k with P(Poisson(mean) <= k) >= u, for u in (0, 1) and mean >= 0, both of one shape: float64, exact.

    A Cornish-Fisher guess, mean + z sqrt(mean) + (z^2 - 1) / 6, is moved until it is right: by a step or two.
    """
    u, mean = u.double(), mean.double()
    z = torch.special.ndtri(u)
    k = (mean + z * mean.sqrt() + (z**2 - 1) / 6).round().clamp_min(0).flatten()
    u, mean = u.flatten(), mean.flatten()
    moving = torch.arange(len(k))
    while len(moving):
        at, rate, wanted = k[moving], mean[moving], u[moving]
        short = torch.special.gammaincc(at + 1, rate) < wanted
        # gammaincc(0, rate) is 0: no k below 0 can be reached.
        over = ~short & (torch.special.gammaincc(at, rate) >= wanted) & (at > 0)
        k[moving] = at + short.double() - over.double()
        moving = moving[short | over]
    return k.view(z.shape)
