"""LAGAN: kernels of each place, exact zeros, flipped labels, both class terms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import gencore
from gencore.data.toys.jets import jets
from gencore_gan.parts.locally_connected import LocallyConnected
from gencore_gan.physics.lagan import FlippedClassification, flipped_loss
from tests.judges.classifiers import jet_classifier


def test_each_place_has_its_own_kernel() -> None:
    """A picture moved by one place gives other maps; with one kernel for all places it is torch's convolution."""
    torch.manual_seed(0)
    layer = LocallyConnected(2, 3, (4, 5))
    x = torch.zeros(1, 2, 4, 5)
    x[0, 0, 1, 1] = 1.0
    moved = x.roll(1, dims=3)
    assert not torch.allclose(layer(moved)[..., 1:], layer(x)[..., :-1])

    layer.weight.data[:] = layer.weight.data[0]
    kernel = layer.weight.data[0].T.reshape(3, 2, 3, 3)
    x = torch.randn(2, 2, 4, 5)
    torch.testing.assert_close(layer(x), torch.nn.functional.conv2d(x, kernel, padding=1), rtol=1e-4, atol=1e-5)
    layer.bias.data[0, 0, 1] = 7.0
    assert layer(torch.zeros(1, 2, 4, 5))[0, 1, 0, 0].item() == 7.0


def test_flips_turn_the_sign() -> None:
    """sp(-2) as it is, sp(2) flipped."""
    low, high = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    value = flipped_loss(torch.tensor([2.0, 2.0]), torch.tensor([False, True]))
    assert value.item() == pytest.approx((low + high) / 2, rel=1e-5)


def blank(flip: float, weight: float = 1.0) -> tuple[FlippedClassification, Any, dict[str, torch.Tensor]]:
    """A critic that says 3 to every picture and knows no class."""
    torch.manual_seed(0)
    recipe = gencore.recipe("lagan", latent_dim=4, width=2)
    model = recipe.model(recipe.config)
    for head in (model.critic.real, model.critic.classes):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    torch.nn.init.constant_(model.critic.real.bias, 3.0)
    batch = {"x": torch.rand(2000, 15, 15), "label": torch.arange(2000) % 2}
    return FlippedClassification(class_weight=weight, flip=flip), model, batch


@pytest.mark.parametrize(("flip", "weight"), [(0.0, 1.0), (0.25, 1.0), (0.0, 0.5)])
def test_the_losses_of_heads_that_know_nothing(flip: float, weight: float) -> None:
    """Critic: a share `flip` of real ones pays sp(3), of generated ones sp(-3); log 2 for the class, of both."""
    objective, model, batch = blank(flip, weight)
    low, high = math.log1p(math.exp(-3)), math.log1p(math.exp(3))
    expected = low + high + weight * 2 * math.log(2)  # what real ones pay more, generated ones pay less
    assert objective.critic(model, batch).total.item() == pytest.approx(expected, abs=1e-4 + 0.4 * flip)
    generator = objective.generator(model, batch).total.item()
    assert generator == pytest.approx(low + weight * math.log(2), rel=1e-4)


def test_a_critic_that_is_right_pays_for_flips() -> None:
    """3 on real, -3 on generated: its loss rises with the share that is flipped, by 3 each."""
    objective, model, batch = blank(0.25)
    low, high = math.log1p(math.exp(-3)), math.log1p(math.exp(3))

    def right(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sign = 1.0 if x is batch["x"] else -1.0
        return torch.full((len(x),), 3 * sign), torch.zeros(len(x), 2)

    model.critic.forward = right
    expected = 2 * (0.75 * low + 0.25 * high) + 2 * math.log(2)
    assert objective.critic(model, batch).total.item() == pytest.approx(expected, abs=0.2)
    objective.flip = 0.0
    assert objective.critic(model, batch).total.item() == pytest.approx(2 * low + 2 * math.log(2), rel=1e-4)


def test_zeros_are_exact() -> None:
    """By the ReLU, and no pixel is below 0."""
    _, model, _ = blank(0.0)
    pictures = model.sample(20)
    assert (pictures == 0).float().mean() > 0.05
    assert (pictures >= 0).all()
    assert (pictures > 0).any()


@pytest.mark.behaviour
def test_a_jet_has_the_prongs_that_were_asked_for(measured: Any) -> None:
    """Accuracy of an outside classifier on 600 jets after 300 steps: 0.875; the twin has no class terms. The share of
    pixels that are hit is 0.07 then, and masses are no bar."""
    label, right = torch.arange(600) % 2, []
    for weight in (1.0, 0.0):
        recipe = gencore.recipe(
            "lagan",
            steps=300,
            batch_size=50,
            width=4,
            class_weight=weight,
            generator_rate=1e-3,
            critic_rate=1e-3,
        )
        model = gencore.Trainer(recipe, jets(4000), seed=0, cpu=True).fit().eval()
        right.append(jet_classifier().accuracy(model.sample(600, seed=1, condition=label), label))
    measured(
        "lagan",
        "jets of the class asked for, by an outside classifier",
        figure=right[0],
        twin=right[1],
        bar=0.7,
        better="higher",
    )
