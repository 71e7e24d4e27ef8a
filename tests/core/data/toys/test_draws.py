from __future__ import annotations

import pytest
import torch

from gencore.data.toys.draws import integers, normals, poisson_quantiles, split_seed, uniform, uniforms

N = torch.arange(20_000)


def test_the_hash_is_pinned() -> None:
    """The formula in plain integers; a change here would silently alter every toy."""

    def by_hand(seed: int, index: int, column: int) -> float:
        h = (index * 0x9E3779B1 + seed * 0x85EBCA77 + column * 0xC2B2AE3D + 0x27D4EB2F) % 2**32
        for shift, factor in ((16, 0x7FEB352D), (15, 0x045D9F3B), (16, 0x119DE1F3), (15, 0x3C6EF372), (16, 1)):
            h = (h ^ (h >> shift)) * factor % 2**32
        return (h >> 8) / 2**24

    index = torch.tensor([0, 1, 12345, 2**31 + 7])
    for seed, column in ((0, 1), (77, 103), (2**63 + 5, 0)):
        assert uniform(seed, index, column).tolist() == [by_hand(seed, int(i), column) for i in index]


def test_rows_depend_on_their_index_alone() -> None:
    order = torch.tensor([7, 3, 7, 19_999])
    assert torch.equal(normals(5, N, 2, 3)[order], normals(5, order, 2, 3))
    assert torch.equal(uniforms(5, N, 2, 3)[:, 1], uniform(5, N, 3))


def test_moments_and_correlations() -> None:
    u, z = uniforms(3, N, 0, 6), normals(3, N, 0, 6)
    five_errors = 5 / len(N) ** 0.5
    assert u.min() >= 0
    assert u.max() < 1
    assert (u.mean(0) - 0.5).abs().max() < five_errors * (1 / 12) ** 0.5
    assert z.mean(0).abs().max() < five_errors
    assert (z.T.cov() - torch.eye(6)).abs().max() < five_errors * 2**0.5
    assert z.isfinite().all()


def test_seeds_differ() -> None:
    drawn = torch.stack([uniform(seed, N, 0) for seed in range(4)])
    assert (drawn.corrcoef() - torch.eye(4)).abs().max() < 5 / len(N) ** 0.5


def test_integers_cover_their_range_evenly() -> None:
    counts = integers(0, N, 4, 7).bincount(minlength=7)
    assert len(counts) == 7
    assert (counts - len(N) / 7).abs().max() < 5 * (len(N) / 7) ** 0.5


def test_splits() -> None:
    assert split_seed(9, "train") == 9
    assert split_seed(9, "test") not in (9, split_seed(10, "test"))
    with pytest.raises(ValueError, match="split is 'all'; expected one of train, test"):
        split_seed(9, "all")
    with pytest.raises(ValueError, match="seed is -1"):
        split_seed(-1, "train")


@pytest.mark.parametrize("mean", [0.0, 1e-4, 0.3, 7.0, 150.0, 2000.0])
def test_poisson_quantiles_invert_the_sum_of_probabilities(mean: float) -> None:
    """Against the cumulative sum of exp(k log(mean) - mean - log k!), at uniforms away from its steps."""
    u = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    k = torch.arange(4000, dtype=torch.float64)
    log_mean = torch.tensor(max(mean, 1e-300), dtype=torch.float64).log()
    cumulative = (k * log_mean - mean - torch.lgamma(k + 1)).exp().cumsum(0)
    expected = torch.searchsorted(cumulative, u).double()
    assert torch.equal(poisson_quantiles(u, torch.full_like(u, mean)), expected)


def test_poisson_quantiles_settle_in_the_tails() -> None:
    u = torch.tensor([2.0**-25, 1 - 2.0**-25], dtype=torch.float64).repeat(5)
    mean = torch.tensor([0.0, 0.01, 1.0, 30.0, 3000.0], dtype=torch.float64).repeat_interleave(2)
    k = poisson_quantiles(u, mean)
    assert (torch.special.gammaincc(k + 1, mean) >= u).all()
    assert ((k == 0) | (torch.special.gammaincc(k, mean) < u)).all()
