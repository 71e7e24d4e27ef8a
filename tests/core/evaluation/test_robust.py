"""Accuracy under attack: by hand for a linear classifier, by batches, and whose logits are attacked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gencore import create
from gencore.data import InMemory, digits
from gencore.data.by_class import labels_of, of_classes
from gencore.errors import GencoreError
from gencore.evaluation.robust import Target, attack_rows, attacked, target_of

WEIGHT = torch.tensor([1.0, -2.0, 0.5])


def linear(x: Tensor) -> Tensor:
    """Two classes; the margin of class 1 is w.x."""
    return torch.stack([torch.zeros(len(x)), x @ WEIGHT], 1)


@pytest.fixture
def vectors() -> InMemory:
    """Half of class 1 by the sign of w.x, all right; within [-0.5, 0.5], so that nothing is clipped."""
    x = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    return InMemory(x=x, label=(x @ WEIGHT > 0).long(), num_classes=2)


def test_a_linear_classifier_falls_where_the_margin_is_below_epsilon_times_the_weights(vectors: InMemory) -> None:
    """Right after FGSM, and after PGD, where |w.x| > epsilon ||w||_1; random signs of that size do less."""
    target = Target(logits=linear, whose="own", device=torch.device("cpu"))
    margin = (vectors.x @ WEIGHT).abs()
    for steps in (0, 10):
        rows = attack_rows(target, vectors, (0.0, 0.05, 0.1), steps=steps)
        for row in rows:
            expected = (margin > row.epsilon * WEIGHT.abs().sum()).double().mean().item()
            assert row.clean == 1
            assert row.attacked == pytest.approx(expected, abs=1e-9)
        assert rows[0].random == 1
        assert rows[2].attacked + 0.05 < rows[2].random < 1


def test_no_batch_changes_a_row(vectors: InMemory) -> None:
    target = Target(logits=linear, whose="own", device=torch.device("cpu"))
    whole, parts = (attack_rows(target, vectors, (0.1,), steps=2, seed=5, batch_size=size) for size in (500, 33))
    assert whole == parts
    assert attack_rows(target, vectors, (0.1,), steps=2, seed=6) != whole


def test_pictures_stay_in_range() -> None:
    """Every version is within epsilon of x, and, with bounds, within them."""
    x, label = torch.ones(4, 3), torch.ones(4, dtype=torch.int64)
    for steps in (0, 3):
        for version in attacked(linear, x, label, 0.3, steps, (-1.0, 1.0)):
            assert version.max() <= 1
            assert (version - x).abs().max() <= 0.3 + 1e-6
    assert attacked(linear, x, label, 0.3, 0, None)[2].max() == pytest.approx(1.3)


class Named(nn.Module):
    """A classifier with another function of three numbers, and a critic that is none."""

    device = torch.device("cpu")

    def __init__(self, judged: Tensor | None = None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.judged = judged

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return self.scale * x

    def judge(self, x: Tensor) -> Tensor:
        return linear(x) if self.judged is None else self.judged.expand(len(x), -1)

    def classify(self, x: Tensor) -> Tensor:
        return linear(x).argmax(1)


def test_whose_logits(vectors: InMemory) -> None:
    """A judge by which the model classifies is attacked itself; another is a critic, and a probe on the codes, which
    gradients pass, stands in."""
    assert target_of(Named(), vectors).whose == "own"
    critic = target_of(Named(judged=torch.arange(2.0)), vectors)
    assert critic.whose == "probe"
    row = attack_rows(critic, vectors, (0.1,))[0]
    assert row.clean > 0.97
    assert row.attacked < row.random - 0.05


def test_own_logits_of_systems() -> None:
    """adversarial-training and noisy-classifier judge classes; dann's judge tells domains, that of rotation-prediction
    one of four turns, also of data with four classes: their codes are probed."""
    source = of_classes(digits("test"), (0, 1, 2, 3))
    four = InMemory(x=source.fetch(torch.arange(len(source)))["x"], label=labels_of(source), num_classes=4)
    for system, data, whose in (
        ("adversarial-training", digits("test"), "own"),
        ("noisy-classifier", digits("test"), "own"),
        ("catgan", digits("test"), "own"),
        ("dann", digits("test"), "probe"),
        ("rotation-prediction", four, "probe"),
    ):
        model: Any = create(system, data_shape=(1, 8, 8))
        assert target_of(model, data).whose == whose, system


def test_refusals(vectors: InMemory) -> None:
    with pytest.raises(GencoreError, match="no labels"):
        target_of(Named(), InMemory(x=torch.zeros(4, 3)))
    with pytest.raises(GencoreError, match="names 3 classes"):
        target_of(create("adversarial-training", num_classes=3), digits("test"))
    with pytest.raises(GencoreError, match="nothing to attack"):
        target_of(create("gan", hidden=(8,)), digits("test"))
    target = Target(logits=linear, whose="own", device=torch.device("cpu"))
    with pytest.raises(GencoreError, match="steps"):
        attack_rows(target, vectors, (0.1,), steps=-1)
    with pytest.raises(GencoreError, match="epsilon"):
        attack_rows(target, vectors, ())
    with pytest.raises(GencoreError, match="epsilon"):
        attack_rows(target, vectors, (-0.1,))
