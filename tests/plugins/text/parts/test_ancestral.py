"""What is left of a distribution, by hand."""

from __future__ import annotations

import math

import torch

from gencore.noise import Noise
from gencore_text.parts.ancestral import choose, keep_top_k, keep_top_p

LOGITS = torch.tensor([[0.2, 0.5, 0.1, 0.2], [0.05, 0.05, 0.8, 0.1]]).log()


def kept(logits: torch.Tensor) -> list[list[int]]:
    return [(row > -math.inf).nonzero()[:, 0].tolist() for row in logits]


def test_top_k() -> None:
    assert kept(keep_top_k(LOGITS, 1)) == [[1], [2]]
    assert kept(keep_top_k(LOGITS, 2)) == [[0, 1, 3], [2, 3]]
    assert kept(keep_top_k(LOGITS, 9)) == [[0, 1, 2, 3]] * 2


def test_top_p_is_the_smallest_set_with_that_mass() -> None:
    """The border is in when it is needed; one token always stays, and what is kept keeps its logits."""
    assert kept(keep_top_p(LOGITS, 0.45)) == [[1], [2]]
    assert [len(row) for row in kept(keep_top_p(LOGITS, 0.65))] == [2, 1]
    assert [len(row) for row in kept(keep_top_p(LOGITS, 0.85))] == [3, 2]
    assert kept(keep_top_p(LOGITS, 1e-9)) == [[1], [2]]
    assert torch.equal(keep_top_p(LOGITS, 0.85)[1, 2:], LOGITS[1, 2:])


def test_filters_hold_for_random_logits() -> None:
    """Mass >= p, and without the least likely of the kept it is less."""
    logits = torch.randn(200, 20, generator=torch.Generator().manual_seed(0)) * 3
    for p in (0.3, 0.9):
        mass = logits.softmax(1).masked_fill(keep_top_p(logits, p) == -math.inf, 0)
        assert (mass.sum(1) >= p - 1e-6).all()
        assert (mass.sum(1) - mass.masked_fill(mass == 0, 2).amin(1) < p).all()


def test_draws_follow_the_temperature() -> None:
    """At temperature 1/2 the odds are squared; at 0 the likeliest."""
    noise = Noise(0, 0, 4000)
    draws = choose(LOGITS[:1].expand(4000, -1), noise, 0.5, None, None)
    share = draws.bincount(minlength=4) / 4000
    expected = torch.tensor([0.04, 0.25, 0.01, 0.04]) / 0.34
    assert (share - expected).abs().max() < 4 * 0.5 / 4000**0.5
    assert choose(LOGITS, noise, 0.0, None, None).tolist() == [1, 2]
    few = choose(LOGITS[1:].expand(4000, -1), noise, 1.0, 2, None)
    assert set(few.tolist()) == {2, 3}
