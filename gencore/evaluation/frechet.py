"""The Frechet distance between two clouds of features (Dowson & Landau 1982; Heusel et al. 2017, arXiv:1706.08500).

With Inception features it is called FID; here the extractor is named with every figure, since figures of different
extractors, resize filters or sample counts do not compare.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from gencore.distributed import equal_on_processes, sum_over_processes
from gencore.errors import GencoreError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number with what it was measured by. Subtracting or ordering incompatible metrics raises GencoreError."""

    name: str
    value: float
    extractor: str
    extractor_hash: str
    resize: str
    n_real: int
    n_fake: int
    seed: int

    def _comparable(self, other: Metric) -> None:
        for field in ("name", "extractor", "extractor_hash", "resize", "n_real", "n_fake"):
            mine, its = getattr(self, field), getattr(other, field)
            if mine != its:
                raise GencoreError(f"These figures do not compare: {field} is {mine!r} in one, {its!r} in the other.")

    def __lt__(self, other: Metric) -> bool:
        self._comparable(other)
        return self.value < other.value

    def __sub__(self, other: Metric) -> float:
        self._comparable(other)
        return self.value - other.value


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the Frechet distance needs of a cloud of features: count, mean (D,) and covariance (D, D), in float64."""

    count: int
    mean: Tensor
    covariance: Tensor


def statistics(features: Tensor, *, split: bool = False) -> Statistics:
    """Count, mean and unbiased covariance of features (N, D).

    `split`: the rows are one process' part, and the statistics are those of all processes' rows, equal to the bit on
    each; call it on every process. The mean is summed first, so that the covariance loses no digits to it.
    Raises GencoreError, on all processes, for fewer than two rows together, NaN or infinity.
    """
    total = sum_over_processes if split else lambda tensor: tensor
    if features.ndim != 2:
        raise GencoreError(f"Features are {tuple(features.shape)}; expected (N >= 2, D).")
    count, bad = total(
        torch.tensor([len(features), int((~features.isfinite()).sum())], device=features.device)
    ).tolist()
    if count < 2:
        raise GencoreError(f"There are {count} rows of features; expected (N >= 2, D).")
    if bad:
        raise GencoreError("Features hold NaN or infinity.")
    features = features.double()
    mean = total(features.sum(0)) / count
    centred = features - mean
    return Statistics(count=count, mean=mean, covariance=total(centred.T @ centred) / (count - 1))


def frechet_distance(a: Tensor | Statistics, b: Tensor | Statistics) -> float:
    """||mean_a - mean_b||^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of features (N, D) and (M, D), in float64.

    Raises GencoreError for fewer than two rows, different widths, NaN or infinity.
    """
    a, b = (x if isinstance(x, Statistics) else statistics(x) for x in (a, b))
    if a.mean.shape != b.mean.shape:
        raise GencoreError(f"Features have widths {len(a.mean)} and {len(b.mean)}; expected the same.")
    mean = (a.mean - b.mean).square().sum()
    # tr (C_a C_b)^(1/2) = sum of the square roots of the eigenvalues of C_a C_b, which are those of the symmetric
    # C_a^(1/2) C_b C_a^(1/2): no complex numbers, no matrix square root of an asymmetric matrix.
    values, vectors = torch.linalg.eigh(a.covariance)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp_min(0).sqrt().sum()
    return float(mean + a.covariance.trace() + b.covariance.trace() - 2 * cross)


def frechet_metric(extractor: Any, real: Tensor, fake: Tensor, *, seed: int, split: bool = False) -> Metric:
    """The Frechet distance in `extractor.features`, with its provenance. Images (N, C, H, W) in [-1, 1].

    `split`: `real` and `fake` are one process' parts, such as `model.sample(n, seed=seed, start=start)`; the figure
    and its counts are those of all parts together, on every process. Raises GencoreError, on all processes, where
    they do not have the same extractor and seed.
    """
    fingerprint = extractor.fingerprint()
    if split and not equal_on_processes(f"{extractor.name} {fingerprint} {seed}", real.device):
        raise GencoreError(
            f"The processes measure with different extractors or seeds: here {extractor.name} {fingerprint}, seed "
            f"{seed}. Load one extractor on all of them, and sample one seed from different starts."
        )
    measured = [statistics(extractor.features(images), split=split) for images in (real, fake)]
    return Metric(
        name="frechet",
        value=frechet_distance(*measured),
        extractor=extractor.name,
        extractor_hash=fingerprint,
        resize="none",
        n_real=measured[0].count,
        n_fake=measured[1].count,
        seed=seed,
    )
