"""Verification over folds by hand and against scikit-learn; the picture of a ROC."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score

from gencore import create
from gencore.data import InMemory, digits
from gencore.data.by_class import labels_of
from gencore.errors import GencoreError
from gencore.evaluation.curves import draw_roc
from gencore.evaluation.pairing import val_over_folds, verify_rows
from gencore.evaluation.verification import draw_pairs, roc

SAME = torch.tensor([True, False] * 4)


def test_val_at_the_threshold_of_the_other_folds() -> None:
    """Fold 0 takes 1.2 from fold 1, and accepts all of its own; fold 1 takes 0.2 from fold 0, and accepts nothing."""
    distance = torch.tensor([0.1, 0.2, 0.1, 0.9, 1.1, 1.2, 1.1, 1.9])
    assert val_over_folds(distance, SAME, 0.5, folds=2) == pytest.approx((0.5, 0.5, 0.5))
    # Two equal folds: 1.1 accepts all that are the same, and 0.2 and 0.9 of the four others.
    assert val_over_folds(distance.repeat(2), SAME.repeat(2), 0.5, folds=2) == (1, 0, 0.5)


def test_a_rate_that_so_few_pairs_cannot_show_is_refused() -> None:
    distance = torch.rand(8)
    with pytest.raises(GencoreError, match=r"FAR 0\.01 is less than one of the 2 pairs"):
        val_over_folds(distance, SAME, 0.01, folds=2)
    with pytest.raises(GencoreError, match="pairs of one kind"):
        val_over_folds(distance, SAME, 0.5, folds=8)
    with pytest.raises(GencoreError, match="folds"):
        val_over_folds(distance, SAME, 0.5, folds=1)


def test_rows_of_raw_digits() -> None:
    """AUC is scikit-learn's on the same pairs; recall@1 is counted by a loop; cosine is another order."""
    source = digits("test")
    with torch.random.fork_rng():
        model: Any = create("triplet-network", width=8, code_dim=4)
    rows = verify_rows(model, source, pairs=400, far=0.01, seed=3)
    assert [(row.codes, row.dim) for row in rows] == [("trained", 4), ("random weights", 4), ("raw data", 64)]
    x, label = source.x.flatten(1), labels_of(source)
    first, second, same = draw_pairs(label, 400, seed=3)
    distance = (x[first] - x[second]).norm(dim=1)
    assert rows[2].auc == pytest.approx(roc_auc_score(same.numpy(), -distance.numpy()), abs=1e-6)
    gaps = torch.cdist(x.double(), x.double()).fill_diagonal_(torch.inf)
    assert rows[2].recall == pytest.approx((label[gaps.argmin(1)] == label).float().mean().item(), abs=0.003)
    assert rows[2].far <= 0.03
    cosine = verify_rows(model, source, pairs=400, far=0.01, seed=3, metric="cosine")[2]
    unit = x / x.norm(dim=1, keepdim=True)
    cosines = (unit[first] * unit[second]).sum(1)
    assert cosine.auc == pytest.approx(roc_auc_score(same.numpy(), cosines.numpy()), abs=1e-5)


def test_codes_that_are_the_class_are_never_wrong() -> None:
    """Raw data that are the class: AUC, accuracy, VAL and recall of 1 at a FAR of 0."""
    label = torch.arange(40) % 4
    source = InMemory(x=torch.eye(4)[label], label=label, num_classes=4)
    row = verify_rows(create("triplet-network", data_shape=(4,), width=4, code_dim=2), source, pairs=200, far=0.01)[2]
    assert (row.auc, row.accuracy, row.val, row.far, row.recall) == (1, (1, 0), (1, 0), 0, 1)
    with pytest.raises(GencoreError, match="no labels"):
        verify_rows(create("triplet-network", data_shape=(4,)), InMemory(x=torch.zeros(9, 4)))


def test_a_perfect_curve_goes_through_the_corner() -> None:
    """VAL 1 at FAR 0 is drawn there; the curve of a wrong judge is not; more curves than colours are refused."""
    perfect = roc(torch.arange(8.0), torch.arange(8) < 4)
    wrong = roc(torch.arange(8.0), torch.arange(8) >= 4)
    red = (200, 40, 40)
    assert draw_roc({"a": perfect}, size=200).getpixel((21, 20)) == red
    assert draw_roc({"a": wrong}, size=200).getpixel((21, 20)) != red
    assert draw_roc({"a": wrong}, size=200).getpixel((100, 180)) == red
    with pytest.raises(GencoreError, match="number of curves"):
        draw_roc({})
