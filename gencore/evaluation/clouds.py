"""Two clouds of features, of real and of generated examples: how far apart, and whether each covers the other.

KID        the unbiased squared MMD under the kernel (x y / D + 1)^3      (Binkowski et al. 2018, arXiv:1801.01401)
precision  the share of fakes within a real example's k-th neighbour's distance of it; recall: the other way round
           (Kynkaanniemi et al. 2019, arXiv:1904.06991, k = 3)
density    how many such balls a fake lies in, over k; coverage: the share of real balls with a fake in them
           (Naeem et al. 2020, arXiv:2002.09797, k = 5)
Frechet at n, n / 2, n / 4 and its limit: linear in 1 / n            (Chong & Forsyth 2020, arXiv:1911.07023)

Legend: real (N, D), fake (M, D), float.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gencore.errors import GencoreError
from gencore.evaluation.frechet import frechet_distance
from gencore.evaluation.retrieval import nearest
from gencore.nn.pairwise import BLOCK, distances

NEIGHBOURS = {"precision": 3, "recall": 3, "density": 5, "coverage": 5}
KERNEL_ROWS = 2000
"""So many rows of each cloud at a time: a kernel's matrix of them takes 32 MB."""


def kid(real: Tensor, fake: Tensor) -> float:
    """Negative where the clouds are nearer than two draws of one are on average. Clouds of more than KERNEL_ROWS rows
    are cut into as many parts each, and the mean over the parts is taken. Raises GencoreError for fewer than two."""
    parts = kernel_parts(real, fake)
    return sum(Kernels.of(*pair).distance() for pair in parts) / len(parts)


def kernel_parts(real: Tensor, fake: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The clouds cut into as many parts, of at most KERNEL_ROWS rows of either."""
    parts = max(1, -(-max(len(real), len(fake)) // KERNEL_ROWS))
    return list(zip(real.tensor_split(parts), fake.tensor_split(parts), strict=True))


class Kernels(NamedTuple):
    """The kernel of all pairs, float64: of real with real (N, N), fake with fake (M, M), real with fake (N, M). A row
    with itself counts nothing."""

    real: Tensor
    fake: Tensor
    between: Tensor

    @classmethod
    def of(cls, real: Tensor, fake: Tensor) -> Kernels:
        """Raises GencoreError for fewer than two rows of either, or other widths."""
        if min(len(real), len(fake)) < 2 or real.shape[1] != fake.shape[1]:
            raise GencoreError(
                f"features are {tuple(real.shape)} and {tuple(fake.shape)}; expected (2 or more, D) twice."
            )
        real, fake = real.double(), fake.double()

        def kernel(a: Tensor, b: Tensor) -> Tensor:
            return (a @ b.T / a.shape[1] + 1) ** 3

        return cls(kernel(real, real).fill_diagonal_(0), kernel(fake, fake).fill_diagonal_(0), kernel(real, fake))

    def distance(self, real_weight: Tensor | None = None, fake_weight: Tensor | None = None) -> float:
        """The unbiased MMD^2; weights (N,) and (M,) say how often a row counts, all once if None."""
        real, fake = (
            matrix.new_ones(len(matrix)) if weight is None else weight.double()
            for matrix, weight in ((self.real, real_weight), (self.fake, fake_weight))
        )

        def within(matrix: Tensor, weight: Tensor) -> Tensor:
            return (weight @ matrix @ weight) / (weight.sum() ** 2 - weight.square().sum())

        between = (real @ self.between @ fake) / (real.sum() * fake.sum())
        return float(within(self.real, real) + within(self.fake, fake) - 2 * between)


def shares(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """What each example adds to the four means: precision and density (M,), recall and coverage (N,), float64.

    Raises GencoreError for clouds of fewer than 6 rows.
    """
    most = max(NEIGHBOURS.values())
    if min(len(real), len(fake)) <= most:
        raise GencoreError(f"there are {len(real)} and {len(fake)} examples; expected more than {most} of each.")
    real_gaps = nearest(real, real, most, exclude_self=True)[1]
    fake_gaps = nearest(fake, fake, NEIGHBOURS["recall"], exclude_self=True)[1]
    precise_radius = real_gaps[:, NEIGHBOURS["precision"] - 1]
    dense_radius = real_gaps[:, NEIGHBOURS["density"] - 1]
    recall_radius = fake_gaps[:, -1]
    precision, density = [], []
    recall = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    for rows in torch.arange(len(fake)).split(max(1, BLOCK // len(real))):
        gap = distances(fake[rows], real)
        precision.append((gap <= precise_radius).any(1))
        density.append((gap <= dense_radius).sum(1) / NEIGHBOURS["density"])
        recall |= (gap <= recall_radius[rows, None]).any(0)
        covered |= (gap <= dense_radius).any(0)
    return {
        "precision": torch.cat(precision).double(),
        "recall": recall.double(),
        "density": torch.cat(density).double(),
        "coverage": covered.double(),
    }


def frechet_at_sizes(real: Tensor, fake: Tensor, *, seed: int = 0) -> dict[str, float]:
    """{"M": ..., "M / 2": ..., "M / 4": ..., "limit": ...} by the number of fakes; all of `real` each time.

    Of halves and quarters the mean over all of them, disjoint and drawn by `seed`. The limit is the line's through the
    three values at 1 / n = 0. Raises GencoreError for fewer than 8 fakes.
    """
    if len(fake) < 8:
        raise GencoreError(f"there are {len(fake)} samples; expected at least 8, for quarters of 2.")
    order = torch.randperm(len(fake), generator=torch.Generator().manual_seed(seed))
    sizes, values = [], []
    for parts in (1, 2, 4):
        size = len(fake) // parts
        found = [frechet_distance(real, fake[order[i * size : (i + 1) * size]]) for i in range(parts)]
        sizes.append(size)
        values.append(sum(found) / parts)
    x = torch.tensor([[1 / size, 1.0] for size in sizes], dtype=torch.float64)
    limit = torch.linalg.lstsq(x, torch.tensor(values, dtype=torch.float64)[:, None]).solution[1, 0]
    return {**{str(size): value for size, value in zip(sizes, values, strict=True)}, "limit": float(limit)}
