"""ADDA: who is trained when, and what the second encoder adds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import softplus

import gencore
from gencore.data import open_source
from gencore.training.trainer import Trainer
from gencore_adaptation.adda import begin_adaptation
from gencore_adaptation.parts.moons import DEGREES, half_circles


def model_and_objectives() -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    recipe: Any = gencore.recipe("adda")
    return recipe.model(recipe.config), recipe.stages[0].objective, recipe.stages[1].objective


def test_the_target_encoder_starts_as_the_source_encoder() -> None:
    """To the bit, and with weights of its own."""
    model, _, _ = model_and_objectives()
    x = torch.randn(4, 2)
    assert not torch.equal(model.encoder(x), model.source(x))
    begin_adaptation(model)
    assert torch.equal(model.encoder(x), model.source(x))
    with torch.no_grad():
        next(model.encoder.parameters()).add_(1)
    assert not torch.equal(model.encoder(x), model.source(x))


def test_losses_by_formula() -> None:
    """Equations 7 and 8, with the critic's logits."""
    model, _, game = model_and_objectives()
    batch = open_source("moons").fetch(torch.arange(12))
    real, fake = model.critic(model.source(batch["x"])), model.critic(model.encoder(batch["x_b"]))
    torch.testing.assert_close(game.critic(model, batch).total, softplus(-real).mean() + softplus(fake).mean())
    torch.testing.assert_close(game.encoder(model, batch).total, softplus(-fake).mean())


def figures(seed: int, **overrides: Any) -> dict[str, float]:
    """Accuracies on the turned moons, of both encoders."""
    recipe = gencore.recipe("adda", **overrides)
    model: Any = Trainer(recipe, open_source("moons"), seed=seed, cpu=True).fit().eval()
    target = half_circles(degrees=DEGREES, seed=1, split="test")
    with torch.no_grad():
        by_source = model.head(model.source(target.x)).argmax(1)
        return {
            "target": (model.classify(target.x) == target.label).float().mean().item(),
            "source encoder": (by_source == target.label).float().mean().item(),
        }


@pytest.mark.behaviour
def test_classes_are_found_on_turned_moons(measured: Any) -> None:
    """At seeds 0, 1, 2: 0.870, 0.850, 0.915; by the source's encoder 0.717, 0.750, 0.745."""
    page = figures(0)
    measured(
        "adda",
        "accuracy on two moons turned by 35 degrees; twin: the source encoder",
        figure=page["target"],
        twin=page["source encoder"],
        bar=0.8,
        better="higher",
    )
