"""The conditional GAN: both players see the class, and samples are of the class that was asked for."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import gencore
from gencore.data import digits
from gencore.errors import GencoreError

from .drawn import class_accuracy, spread_within_classes, trained


def test_both_players_see_the_class() -> None:
    """The same code and the same image, with another class: another image and another judgement."""
    torch.manual_seed(0)
    model = gencore.create("cgan", hidden=[16])
    z, x = torch.randn(1, 32).expand(2, -1), torch.rand(1, 1, 8, 8).expand(2, -1, -1, -1)
    labels = torch.tensor([1, 2])
    images, judged = model.generate(z, condition=labels), model.judge(x, condition=labels)
    assert (images[0] - images[1]).abs().max() > 1e-3
    assert (judged[0] - judged[1]).abs() > 1e-4


def test_without_a_class_nothing_is_drawn_or_judged() -> None:
    model = gencore.create("cgan", hidden=[16])
    with pytest.raises(GencoreError, match="condition"):
        model.generate(torch.randn(2, 32))
    with pytest.raises(GencoreError, match="condition"):
        model.judge(torch.zeros(2, 1, 8, 8))
    recipe = gencore.recipe("cgan", hidden=(16,))
    with pytest.raises(GencoreError, match="label"):
        recipe.stages[0].objective.loss(model, "critic", {"x": torch.zeros(2, 1, 8, 8)})
    with pytest.raises(GencoreError, match="cdcgan convolutional"):
        gencore.create("cgan", network="conv")


@pytest.mark.behaviour
def test_samples_are_of_the_class_that_was_asked_for(measured) -> None:
    """Accuracy of an outside classifier after 1200 steps, seed 1: 0.960; 0.990 after 2000, seed 0."""
    page = trained("cgan", seed=0, steps=1200)
    source = digits("train")
    assert source.label is not None
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))
    recipe = gencore.recipe("cgan", steps=1200)
    twin = (
        gencore.Trainer(recipe, dataclasses.replace(source, label=source.label[order]), seed=0, cpu=True).fit().eval()
    )
    assert spread_within_classes(page) > 0.4
    measured(
        "cgan",
        "samples of the class asked for, by an outside classifier",
        figure=class_accuracy(page),
        twin=class_accuracy(twin),
        bar=0.8,
        better="higher",
    )
