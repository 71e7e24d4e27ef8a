"""The conditional DCGAN: the class as maps, and samples of the class that was asked for."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import gencore
from gencore.data import digits
from gencore.errors import GencoreError

from .drawn import class_accuracy, spread_within_classes, trained


def test_the_critic_sees_the_class_as_a_map_of_ones() -> None:
    """A critic that adds up map 1 + k of its input judges class k, and no other, by the number of pixels."""
    model = gencore.create("cdcgan", width=4).eval()
    model.critic = torch.nn.Sequential(torch.nn.Conv2d(11, 1, 8, bias=False))
    torch.nn.init.zeros_(model.critic[0].weight)
    model.critic[0].weight.data[0, 1 + 4] = 1.0
    judged = model.judge(torch.zeros(3, 1, 8, 8), condition=torch.tensor([4, 5, 4]))
    assert judged.tolist() == [64.0, 0.0, 64.0]


def test_a_dense_config_is_refused() -> None:
    with pytest.raises(GencoreError, match="cgan dense"):
        gencore.create("cdcgan", network="dense")


@pytest.mark.behaviour
def test_samples_are_of_the_class_that_was_asked_for(measured) -> None:
    """Accuracy of an outside classifier after 500 steps, seeds 0, 1: 0.938, 0.946."""
    page = trained("cdcgan", seed=0, steps=500)
    source = digits("train")
    assert source.label is not None
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))
    recipe = gencore.recipe("cdcgan", steps=500)
    twin = (
        gencore.Trainer(recipe, dataclasses.replace(source, label=source.label[order]), seed=0, cpu=True).fit().eval()
    )
    assert spread_within_classes(page) > 0.4
    measured(
        "cdcgan",
        "samples of the class asked for, by an outside classifier",
        figure=class_accuracy(page),
        twin=class_accuracy(twin),
        bar=0.8,
        better="higher",
    )
