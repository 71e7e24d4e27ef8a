"""DTN: a fixed f, three kinds, its terms, and classes that survive the transfer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from gencore_translation.unpaired.dtn import DomainTransfer, total_variation
from tests.judges.classifiers import digit_classifier

from .contrast import trained

BATCH = {"x": torch.rand(4, 1, 8, 8) * 2 - 1, "x_b": torch.rand(4, 1, 8, 8) * 2 - 1}


def test_a_critic_that_knows_nothing_costs_log_3_a_kind() -> None:
    model: Any = gencore.create("dtn", hidden=[8])
    torch.nn.init.zeros_(model.critic[1][-1].weight)
    torch.nn.init.zeros_(model.critic[1][-1].bias)
    objective = DomainTransfer(alpha=0.0, beta=0.0, gamma=0.0)
    assert objective.loss(model, "critic", BATCH).total.item() == pytest.approx(3 * math.log(3), rel=1e-5)
    assert objective.loss(model, "generator", BATCH).total.item() == pytest.approx(2 * math.log(3), rel=1e-5)
    model.critic[1][-1].bias.data[2] = 3.0
    sure = math.log(math.exp(3) + 2) - 3
    assert objective.loss(model, "generator", BATCH).total.item() == pytest.approx(2 * sure, rel=1e-4)


def test_the_weighted_terms_are_f_kept_and_the_target_kept() -> None:
    model: Any = gencore.create("dtn", hidden=[8])
    loss = DomainTransfer(alpha=2.0, beta=3.0, gamma=4.0).loss(model, "generator", BATCH)
    code = model.encode(BATCH["x"])
    drawn = model.generate(code)
    constancy = (model.encode(drawn) - code).square().mean().item()
    identity = (model.translate(BATCH["x_b"]) - BATCH["x_b"]).square().mean().item()
    expected = loss.metrics["game"].item() + 2 * constancy + 3 * identity + 4 * total_variation(drawn).item()
    assert loss.total.item() == pytest.approx(expected, rel=1e-4)


def test_total_variation_of_a_slope() -> None:
    """Steps of 3 to the right and 4 down: 5 everywhere."""
    x = (3 * torch.arange(5.0)[None, :] + 4 * torch.arange(6.0)[:, None])[None, None]
    assert total_variation(x).item() == pytest.approx(5, rel=1e-6)


def test_f_stands_still_in_the_transfer() -> None:
    recipe = gencore.recipe("dtn", hidden=(8,), steps=2, translation_steps=2, batch_size=8)
    assert recipe.stages[1].frozen == ("classifier",)
    unlabelled = {"x": BATCH["x"]}
    with pytest.raises(GencoreError, match="labels"):
        recipe.stages[0].objective.loss(gencore.create("dtn", hidden=[8]), "classifier", unlabelled)


@pytest.mark.behaviour
def test_a_transferred_digit_keeps_its_class(measured) -> None:
    """After 200 and 500 steps, seeds 0, 1: 0.927, 0.952; without the terms that keep f and the pictures 0.09."""
    source = digits("test")
    assert source.label is not None

    def kept(**arguments: float) -> float:
        model = trained("dtn", seed=0, steps=200, translation_steps=500, **arguments)
        with torch.no_grad():
            return digit_classifier(8).accuracy(-model.translate(source.x), source.label)

    measured(
        "dtn",
        "held-out digits whose class survives the transfer, by an outside classifier",
        figure=kept(),
        twin=kept(alpha=0.0, beta=0.0),
        bar=0.7,
        better="higher",
    )
