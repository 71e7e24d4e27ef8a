"""Intervals of 95 % by the bootstrap over examples (Efron 1979): a figure of other draws of as many would lie there.

A mean's interval lies between the quantiles of resampled means. A distance of two clouds grows where examples repeat,
so its resampled values lie too high: their spread is taken, value +- 1.96 standard deviations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gencore.evaluation.clouds import kernel_distance, kernel_parts
from gencore.evaluation.frechet import frechet_distance

Z = 1.96
Interval = tuple[float, float]


def of_mean(values: Tensor, *, resamples: int, seed: int = 0) -> Interval:
    """Of the mean of values (N,)."""
    values = values.double()
    generator = torch.Generator().manual_seed(seed)
    means = torch.stack([(counts @ values) / len(values) for counts in _counts(len(values), resamples, generator)])
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def of_frechet(real: Tensor, fake: Tensor, *, resamples: int, seed: int = 0) -> Interval:
    """Of the Frechet distance of two clouds (N, D) and (M, D), both drawn anew."""
    generator = torch.Generator().manual_seed(seed)

    def again(x: Tensor) -> Tensor:
        return x[torch.randint(len(x), (len(x),), generator=generator)]

    return _around(
        frechet_distance(real, fake), lambda: frechet_distance(again(real), again(fake)), resamples, floor=0.0
    )


def of_kid(value: float, real: Tensor, fake: Tensor, *, resamples: int, seed: int = 0) -> Interval:
    """Of the kernel distance `value`, both clouds drawn anew within their parts."""
    generator = torch.Generator().manual_seed(seed)
    parts = kernel_parts(real, fake)

    def again() -> float:
        weights = [[_counts(len(x), 1, generator)[0] for x in pair] for pair in parts]
        return sum(kernel_distance(*pair, *w) for pair, w in zip(parts, weights, strict=True)) / len(parts)

    return _around(value, again, resamples)


def _counts(length: int, resamples: int, generator: torch.Generator) -> list[Tensor]:
    """How often each of `length` examples is drawn, (length,) float64, for each resample."""
    draws = (torch.randint(length, (length,), generator=generator) for _ in range(resamples))
    return [torch.bincount(drawn, minlength=length).double() for drawn in draws]


def _around(value: float, again: Callable[[], float], resamples: int, floor: float = -torch.inf) -> Interval:
    spread = float(torch.tensor([again() for _ in range(resamples)], dtype=torch.float64).std())
    return max(floor, value - Z * spread), value + Z * spread
