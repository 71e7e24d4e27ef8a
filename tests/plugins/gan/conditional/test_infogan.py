"""InfoGAN: the prior's parts, the bound on the information, and a category that follows the classes without labels."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score

import gencore
from gencore.data import digits
from gencore_gan.conditional.infogan import InformationMaximization
from tests.judges.classifiers import digit_classifier
from tests.plugins.default_sampler import draws_nearer

from .drawn import trained


def test_the_prior_is_a_category_numbers_and_noise() -> None:
    model = gencore.create("infogan", hidden=[8])
    z = model.draw_prior(gencore.Noise(0, 0, 2000))
    category, codes, noise = z.split((10, 2, 32), 1)
    assert torch.equal(category.sum(1), torch.ones(2000))
    assert category.mean(0).sub(0.1).abs().max() < 0.03
    assert codes.abs().max() <= 1
    assert codes.std(0).sub(1 / math.sqrt(3)).abs().max() < 0.02
    assert noise.std().item() == pytest.approx(1, abs=0.02)


def test_a_q_that_knows_nothing_costs_the_entropy_of_the_category() -> None:
    """L_I is 0 then: -E log Q = H(c) = log 10; of the numbers, those of N(0, 1) at points of U[-1, 1]."""
    model = gencore.create("infogan", hidden=[8])
    for layer in (model.recognition, model.critic["real"]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    torch.manual_seed(0)
    loss = InformationMaximization(category_weight=2.0, code_weight=3.0).loss(
        model, "generator", {"x": torch.zeros(5000, 1, 8, 8)}
    )
    numbers = 2 * 0.5 * (math.log(2 * math.pi) + 1 / 3)
    assert loss.metrics["category"].item() == pytest.approx(math.log(10), rel=1e-5)
    assert loss.metrics["codes"].item() == pytest.approx(numbers, abs=0.02)
    assert loss.total.item() == pytest.approx(
        math.log(2) + 2 * math.log(10) + 3 * loss.metrics["codes"].item(), rel=1e-5
    )


def test_q_is_trained_with_the_critic_and_nobody_learns_to_be_fooled() -> None:
    """The critic's phase holds Q's term as well: without the weights it is the game alone."""
    phases = {phase.name: phase.parts for phase in gencore.recipe("infogan").stages[0].phases}
    assert phases == {"critic": ("critic", "recognition"), "generator": ("generator",)}
    model, batch, losses = gencore.create("infogan", hidden=[8]), {"x": torch.zeros(500, 1, 8, 8)}, []
    for weight in (0.0, 2.0):
        torch.manual_seed(0)
        objective = InformationMaximization(category_weight=weight, code_weight=0.0)
        losses.append(objective.loss(model, "critic", batch).total)
    assert (losses[1] - losses[0]).item() == pytest.approx(2 * math.log(10), rel=0.1)


def read_off(model: Any, n: int = 500) -> tuple[float, float]:
    """Mutual information, normalised, of the category and an outside classifier's class; the best number's |r|."""
    z = model.draw_prior(gencore.Noise(1, 0, n))
    with torch.no_grad():
        x = model.generate(z)
        guess = model.encode(x)
    classes = digit_classifier(8).predict(x)
    information = normalized_mutual_info_score(z[:, :10].argmax(1).numpy(), classes.numpy())
    pairs = (torch.stack([z[:, place], guess[:, place]]) for place in (10, 11))
    return float(information), max(abs(torch.corrcoef(pair)[0, 1].item()) for pair in pairs)


@pytest.mark.behaviour
def test_the_category_follows_the_classes_without_labels(measured) -> None:
    """After 1200 steps at seeds 0, 1: information 0.654, 0.743; the best number is read with r 0.956, 0.967; the twin
    is without the terms of Q. The default, 4000 steps: 0.942, 0.793."""
    shorter = {"seed": 0, "steps": 1200, "learning_rate": 1e-3}
    page = trained("infogan", **shorter)
    twin = trained("infogan", **shorter, category_weight=0.0, code_weight=0.0)
    (information, number), (twin_information, twin_number) = read_off(page), read_off(twin)
    assert number > 0.8 > twin_number
    draws_nearer(page, digits("test").x, share=0.3)
    measured(
        "infogan",
        "mutual information of the category and an outside classifier's class",
        figure=information,
        twin=twin_information,
        bar=0.45,
        better="higher",
    )
