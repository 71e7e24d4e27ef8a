"""Witten-Bell by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from gencore.evaluation.ngram import NGram


def test_by_hand() -> None:
    """Of 0 0 1: p is (2 + 2/3) / 5, (1 + 2/3) / 5 and (2/3) / 5; after 0 came 0 and 1, at the start 0."""
    model = NGram(torch.tensor([[0, 0, 1]]), 2, 3)
    unigram = [(2 + 2 / 3) / 5, (1 + 2 / 3) / 5, (2 / 3) / 5]
    assert [model.probability(w, [2]) for w in range(3)] == pytest.approx(unigram)
    assert [NGram(torch.tensor([[0, 0, 1]]), 1, 3).probability(w, [0]) for w in range(3)] == pytest.approx(unigram)
    assert model.probability(1, [2, 0]) == pytest.approx((1 + 2 * unigram[1]) / 4)
    assert model.probability(2, [0]) == pytest.approx(2 * unigram[2] / 4)
    assert model.probability(0, []) == pytest.approx((1 + unigram[0]) / 2)
    nats = model.nats(torch.tensor([[0, 1]]))
    assert nats.tolist()[0] == pytest.approx([-math.log((1 + unigram[0]) / 2), -math.log((1 + 2 * unigram[1]) / 4)])


def test_long_histories_are_cut() -> None:
    """Order 3: after 0 1 came 2, whatever stood before."""
    model = NGram(torch.tensor([[3, 0, 1, 2]]), 3, 4)
    assert model.probability(2, [0, 1]) == model.probability(2, [3, 3, 0, 1]) > 0.7
    assert model.probability(2, [3, 1]) < model.probability(2, [0, 1])


def test_sums_to_one() -> None:
    tokens = torch.randint(4, (5, 9), generator=torch.Generator().manual_seed(0))
    model = NGram(tokens, 3, 4)
    for before in itertools.product(range(4), repeat=2):
        assert sum(model.probability(w, before) for w in range(4)) == pytest.approx(1)
    with pytest.raises(ValueError, match="order is 0"):
        NGram(tokens, 0, 4)
