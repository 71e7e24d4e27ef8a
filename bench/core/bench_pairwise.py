"""Losses on pairs and mined triplets: no N x N matrix at N = 65,536, and against pytorch-metric-learning where it fits.

All distances of 65,536 codes would be 17 GB. The peaks there are held to a sixty-fourth of that, and to growing no
faster than N; they were 52.6 MB for the contrastive loss with its gradient (40.4 MB at 16,384 codes), and 22.3 MB for
semi-hard negatives (14.1 MB). The peer needs the whole matrix, so it takes part where that fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor
from torch.nn.functional import normalize

from bench.conftest import peak_extra_memory
from gencore.nn.pairwise import contrastive_loss, positive_pairs, semi_hard_negatives

MANY, DIM = 65_536, 16
TESTS = "tests/core/nn/test_pairwise.py"


def codes(count: int, per_class: int, dim: int = DIM) -> tuple[Tensor, Tensor]:
    """Unit codes around the middle of their class."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(count) // per_class
    middles = torch.randn(count // per_class, dim, generator=generator)
    return normalize(middles[label] + torch.randn(count, dim, generator=generator)), label


def slope_of(loss: Callable[[Tensor], Tensor], z: Tensor) -> Callable[[], Tensor]:
    """Forward and backward; the gradient of z."""

    def step() -> Tensor:
        leaf = z.detach().requires_grad_()
        return torch.autograd.grad(loss(leaf), leaf)[0]

    return step


@pytest.mark.parametrize("dim", [16, 64])
def test_contrastive(race: Any, dim: int) -> None:
    z, label = codes(4096, 4, dim)
    theirs = ContrastiveLoss(
        pos_margin=0, neg_margin=1.0, distance=LpDistance(normalize_embeddings=False), reducer=MeanReducer()
    )

    def ours(z: Tensor) -> Tensor:
        return contrastive_loss(z, label, margin=1.0, squared=False)

    exact = slope_of(ours, z.double())()
    row = race(
        "contrastive loss over all pairs, forward and backward",
        f"4096 x {dim}",
        {"gencore": slope_of(ours, z), "pytorch-metric-learning": slope_of(lambda z: theirs(z, label), z)},
        error=lambda slope: ((slope.double() - exact).abs().max() / exact.abs().max()).item(),
        error_unit="rel. to the largest gradient",
        tests=TESTS,
    )
    smaller, larger = (entry["peak_bytes"] for entry in row["contestants"])
    assert larger > 4096**2 * 4 > smaller


def test_semi_hard(race: Any) -> None:
    """The peer lists every semi-hard triplet; the nearest of each pair is then taken from its list."""
    z, label = codes(512, 4)
    anchor, positive = positive_pairs(label)
    pair_of = torch.zeros(512, 512, dtype=torch.int64)
    pair_of[anchor, positive] = torch.arange(len(anchor))
    miner = TripletMarginMiner(margin=10.0, type_of_triplets="semihard", distance=LpDistance(power=2))
    distance = torch.cdist(z.double(), z.double())

    def theirs() -> Tensor:
        first, second, other = miner(z, label)
        gap, pair = torch.cdist(z, z)[first, other], pair_of[first, second]
        nearest = torch.full((len(anchor),), torch.inf).scatter_reduce_(0, pair, gap, "amin")
        chosen = gap == nearest[pair]
        return torch.full((len(anchor),), -1).index_put_((pair[chosen],), other[chosen])

    def wrong(negative: Tensor) -> float:
        farther = (label[anchor][:, None] != label) & (distance[anchor] > distance[anchor, positive][:, None])
        expected = distance[anchor].masked_fill(~farther, torch.inf).argmin(1)
        return (negative != expected)[farther.any(1)].float().mean().item()

    race(
        "semi-hard negatives of all pairs",
        "512 x 16, 4 of a class",
        {"gencore": lambda: semi_hard_negatives(z, label, *positive_pairs(label)), "pytorch-metric-learning": theirs},
        error=wrong,
        error_unit="share of pairs with another one",
        tests=TESTS,
    )


def contrastive(count: int) -> Tensor:
    """Forward and backward on codes of two of a class, as of two views."""
    z, label = codes(count, 2)
    return slope_of(lambda z: contrastive_loss(z, label), z)()


def semi_hard(count: int) -> Tensor:
    """All pairs of the same codes."""
    z, label = codes(count, 2)
    return semi_hard_negatives(z, label, *positive_pairs(label))


@pytest.mark.parametrize("work", [contrastive, semi_hard])
def test_memory_grows_as_the_codes_do(work: Callable[[int], Tensor]) -> None:
    """Minutes each: 4,294,967,296 distances. A small run warms up."""

    def peak(count: int) -> int:
        counts = iter((4096, count))
        found = peak_extra_memory(lambda: work(next(counts)))
        assert found is not None, "peak memory can be measured on Linux only"
        return found

    quarter, whole = peak(MANY // 4), peak(MANY)
    print(f"\n{work.__name__}: {quarter / 2**20:.1f} MB at {MANY // 4} codes, {whole / 2**20:.1f} MB at {MANY}")
    assert whole < 4 * MANY**2 / 64
    assert whole < 4 * quarter
