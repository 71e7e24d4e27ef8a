"""Verification on pairs made by hand."""

from __future__ import annotations

import pytest
import torch

from gencore.errors import GencoreError
from gencore.evaluation.verification import (
    accuracy_over_folds,
    area_under_roc,
    best_threshold,
    draw_pairs,
    roc,
    val_at_far,
)

DISTANCE = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
SAME = torch.tensor([True, True, False, True, False, False])


def test_six_pairs() -> None:
    """Thresholds 0.2 and 0.4: VAL 2/3 at FAR 0, VAL 1 at FAR 1/3."""
    curve = roc(DISTANCE, SAME)
    assert curve.val.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1, 1, 1])
    assert curve.far.tolist() == pytest.approx([0, 0, 0, 1 / 3, 1 / 3, 2 / 3, 1])
    assert val_at_far(DISTANCE, SAME, 0.0) == pytest.approx((2 / 3, 0.2))
    assert val_at_far(DISTANCE, SAME, 0.34) == pytest.approx((1.0, 0.4))
    assert best_threshold(DISTANCE, SAME) == pytest.approx(0.25)
    nearer = sum(float(a < b) for a in DISTANCE[SAME] for b in DISTANCE[~SAME])
    assert area_under_roc(DISTANCE, SAME) == pytest.approx(nearer / 9)


def test_ties_are_accepted_together() -> None:
    """At one threshold for both."""
    curve = roc(torch.tensor([1.0, 1.0, 2.0]), torch.tensor([True, False, True]))
    assert curve.val.tolist() == [0, 0.5, 1]
    assert curve.far.tolist() == [0, 1, 1]


def test_a_threshold_never_sees_its_own_fold() -> None:
    """Two folds that need different thresholds: each is judged by the other's, and is wrong half the time."""
    distance = torch.tensor([0.1, 0.2, 0.1, 0.2, 1.1, 1.2, 1.1, 1.2])
    same = torch.tensor([True, False] * 4)
    mean, error = accuracy_over_folds(distance, same, folds=2)
    assert mean == pytest.approx(0.5)
    assert error == pytest.approx(0.0)
    assert accuracy_over_folds(DISTANCE.repeat(2), SAME.repeat(2), folds=2)[0] == pytest.approx(5 / 6)


def test_drawn_pairs() -> None:
    """Half of one class, no example with itself, the same for one seed."""
    label = torch.tensor([0, 0, 1, 1, 1, 2])
    first, second, same = draw_pairs(label, 200, seed=1)
    assert ((label[first] == label[second]) == same).all()
    assert (first != second).all()
    assert same.sum() == 200
    assert torch.equal(draw_pairs(label, 200, seed=1)[0], first)


def test_refusals() -> None:
    """One kind of pairs, one class, impossible rates and folds."""
    with pytest.raises(GencoreError, match="some of both"):
        roc(DISTANCE, torch.ones(6, dtype=torch.bool))
    with pytest.raises(GencoreError, match="pairs need"):
        draw_pairs(torch.zeros(4, dtype=torch.int64), 3)
    with pytest.raises(GencoreError, match="far"):
        val_at_far(DISTANCE, SAME, 1.5)
    with pytest.raises(GencoreError, match="folds"):
        accuracy_over_folds(DISTANCE, SAME, folds=1)
