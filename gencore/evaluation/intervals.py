"""Intervals of 95 % by the bootstrap over examples (Efron 1979): a figure of other draws of as many would lie there.

A mean's interval lies between the quantiles of resampled means. A distance of two clouds grows where examples repeat,
so its resampled values lie too high: their spread is taken, value +- 1.96 standard deviations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gencore.evaluation.clouds import Kernels, kernel_parts

Z = 1.96
Interval = tuple[float, float]
Measure = Callable[[Tensor, Tensor], float]


def of_mean(values: Tensor, *, resamples: int, seed: int = 0) -> Interval:
    """Of the mean of values (N,)."""
    values = values.double()
    generator = torch.Generator().manual_seed(seed)
    means = torch.stack([(counts @ values) / len(values) for counts in _counts(len(values), resamples, generator)])
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def of_distance(measure: Measure, real: Tensor, fake: Tensor, *, resamples: int, seed: int = 0) -> Interval:
    """Of a distance `measure` of two clouds, (N, ...) and (M, ...), both drawn anew; not below 0."""
    generator = torch.Generator().manual_seed(seed)

    def again(x: Tensor) -> Tensor:
        return x[torch.randint(len(x), (len(x),), generator=generator)]

    found = [measure(again(real), again(fake)) for _ in range(resamples)]
    low, high = _around(measure(real, fake), torch.tensor(found, dtype=torch.float64))
    return max(0.0, low), high


def of_kid(value: float, real: Tensor, fake: Tensor, *, resamples: int, seed: int = 0) -> Interval:
    """Of the kernel distance `value`, both clouds drawn anew within their parts."""
    generator = torch.Generator().manual_seed(seed)
    parts = kernel_parts(real, fake)
    total = torch.zeros(resamples, dtype=torch.float64)
    for pair in parts:
        kernels = Kernels.of(*pair)
        weights = zip(*(_counts(len(x), resamples, generator) for x in pair), strict=True)
        total += torch.tensor([kernels.distance(*of_both) for of_both in weights], dtype=torch.float64)
    return _around(value, total / len(parts))


def _counts(length: int, resamples: int, generator: torch.Generator) -> list[Tensor]:
    """How often each of `length` examples is drawn, (length,) float64, for each resample."""
    draws = (torch.randint(length, (length,), generator=generator) for _ in range(resamples))
    return [torch.bincount(drawn, minlength=length).double() for drawn in draws]


def _around(value: float, again: Tensor) -> Interval:
    spread = Z * float(again.std())
    return value - spread, value + spread
