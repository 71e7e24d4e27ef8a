"""Random numbers of the data: functions of their keys alone, the same in every version of NumPy and torch.

Philox-4x64 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), keyed by (seed, number); the highest
word of its counter tells the uses apart, so that no two of them ever share numbers. Only the bit generator is used:
NumPy keeps its stream fixed (NEP 19), which it does not promise for Generator.permutation and the distributions.
The global random states are neither read nor advanced.
"""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gencore.errors import GencoreError


class Use(enum.IntEnum):
    """What numbers are for. Sharing them is a trap: a permutation sorted by the data's own draws is no shuffle."""

    ORDER = 0
    TABLE = 1
    SEED = 2
    SPLIT = 3
    AUGMENT = 4


def raw(seed: int, number: int, count: int, use: Use) -> npt.NDArray[np.uint64]:
    """(count,) uint64, uniform; a longer stream begins with the shorter one."""
    if not 0 <= seed < 2**64:
        raise GencoreError(f"seed is {seed}; expected an integer from 0 to 2**64 - 1.")
    key = np.array([seed, number], dtype=np.uint64)
    counter = np.array([0, 0, 0, use], dtype=np.uint64)
    bits: npt.NDArray[np.uint64] = np.random.Philox(key=key, counter=counter).random_raw(count)
    return bits


def permutation(length: int, seed: int, number: int, use: Use = Use.ORDER) -> Tensor:
    """A permutation of 0 ... length - 1, (length,) int64: the order of as many random 64-bit words."""
    return torch.from_numpy(np.argsort(raw(seed, number, length, use), kind="stable").astype(np.int64, copy=False))


def uniforms(seed: int, number: int, count: int, use: Use) -> Tensor:
    """(count,) float64 in the open interval (0, 1): the middles of 2**52 equal cells."""
    cells = (raw(seed, number, count, use) >> np.uint64(12)).astype(np.float64)
    return torch.from_numpy((cells + 0.5) / 2.0**52)


def normals(seed: int, number: int, count: int, use: Use) -> Tensor:
    """(count,) float64, standard normal: the inverse distribution function of `uniforms`."""
    return torch.special.ndtri(uniforms(seed, number, count, use))


def derived_seed(seed: int, number: int) -> int:
    """A seed for the number-th part of something that has the seed `seed`."""
    return int(raw(seed, number, 1, Use.SEED)[0])
