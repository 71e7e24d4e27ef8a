"""The Frechet distance between two clouds of features (Dowson & Landau 1982; Heusel et al. 2017, arXiv:1706.08500).

With Inception features it is called FID; here the extractor is named with every figure, since figures of different
extractors, resize filters or sample counts do not compare.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

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


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """||mean_a - mean_b||^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of features (N, D) and (M, D), in float64.

    Raises GencoreError for fewer than two rows, different widths, NaN or infinity.
    """
    for features in (a, b):
        if features.ndim != 2 or len(features) < 2 or features.shape[1] != a.shape[1]:
            raise GencoreError(
                f"Features are {tuple(a.shape)} and {tuple(b.shape)}; expected (N >= 2, D) and (M >= 2, D)."
            )
        if not features.isfinite().all():
            raise GencoreError("Features hold NaN or infinity.")
    a, b = a.double(), b.double()
    mean = (a.mean(0) - b.mean(0)).square().sum()
    cov_a, cov_b = (torch.atleast_2d(torch.cov(features.T)) for features in (a, b))
    # tr (C_a C_b)^(1/2) = sum of the square roots of the eigenvalues of C_a C_b, which are those of the symmetric
    # C_a^(1/2) C_b C_a^(1/2): no complex numbers, no matrix square root of an asymmetric matrix.
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    return float(mean + cov_a.trace() + cov_b.trace() - 2 * cross)


def frechet_metric(extractor: Any, real: Tensor, fake: Tensor, *, seed: int) -> Metric:
    """The Frechet distance in `extractor.features`, with its provenance. Images (N, C, H, W) in [-1, 1]."""
    return Metric(
        name="frechet",
        value=frechet_distance(extractor.features(real), extractor.features(fake)),
        extractor=extractor.name,
        extractor_hash=extractor.fingerprint(),
        resize="none",
        n_real=len(real),
        n_fake=len(fake),
        seed=seed,
    )
