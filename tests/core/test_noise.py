"""Sample i's noise depends on (seed, i) alone."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from gencore import Noise
from gencore.errors import GencoreError


def test_independent_of_the_batch() -> None:
    whole = Noise(7, 0, 6)
    first, second = Noise(7, 0, 2), Noise(7, 2, 4)
    for draw in (lambda n: n.normal(3, 2), lambda n: n.uniform(5), lambda n: n.integers(10, 4), lambda n: n.normal()):
        assert torch.equal(draw(whole), torch.cat([draw(first), draw(second)]))


def test_streams_and_seeds_differ() -> None:
    draws = torch.cat([Noise(seed, 0, 50).normal(8) for seed in (0, 1, 2**63)])
    assert len({tuple(row.tolist()) for row in draws}) == 150


def test_distributions() -> None:
    noise = Noise(0, 0, 4000)
    assert stats.kstest(noise.normal(1).flatten().numpy(), "norm").pvalue > 0.01
    assert stats.kstest(noise.uniform(1).flatten().numpy(), "uniform").pvalue > 0.01
    logits = torch.tensor([0.1, 0.2, 0.7]).log().expand(4000, 3)
    share = noise.categorical(logits).bincount(minlength=3) / 4000
    torch.testing.assert_close(share, torch.tensor([0.1, 0.2, 0.7]), atol=0.03, rtol=0)


def test_neighbouring_streams_are_uncorrelated() -> None:
    draws = Noise(0, 0, 200).normal(400)
    correlation = torch.corrcoef(draws) - torch.eye(200)
    assert correlation.abs().max() < 0.3
    assert abs(correlation.sum() / (200 * 199)) < 0.005


def test_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    Noise(1, 0, 3).normal(4)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("seed", "start", "count"), [(-1, 0, 1), (2**64, 0, 1), (0, -1, 1), (0, 0, 0)])
def test_bad_arguments(seed: int, start: int, count: int) -> None:
    with pytest.raises(GencoreError, match="expected"):
        Noise(seed, start, count)
