"""AdaGAN: the weights, whose rounds see what, and the ring covered by affine generators."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import pytest
import torch

import gencore
from gencore.data import ring
from gencore.data.source import epoch_order
from gencore_gan.ensembles.adagan import AdaGAN, AdaGANConfig, Round, begin_round, boosting_weights, threshold


@pytest.mark.parametrize("beta", [0.5, 0.2, 0.05])
def test_weights_sum_to_one_and_lambda_solves_its_equation(beta: float) -> None:
    """Against a bisection on lambda in plain numbers."""
    torch.manual_seed(0)
    logits = 3 * torch.randn(50, dtype=torch.float64)
    ratios = [math.exp(-u) for u in logits.tolist()]

    def total(value: float) -> float:
        return sum(max(value - (1 - beta) * h, 0.0) for h in ratios) / (beta * len(ratios))

    low, high = 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if total(middle) > 1 else (middle, high)
    assert threshold(torch.tensor(ratios, dtype=torch.float64), beta).item() == pytest.approx(low, rel=1e-9)
    weights = boosting_weights(logits, beta)
    assert weights.sum().item() == pytest.approx(1.0, rel=1e-9)
    assert (weights >= 0).all()


def test_what_the_mixture_has_enough_of_gets_nothing() -> None:
    """Two examples it never makes, two it makes 9 times too often, beta = 1/2: lambda = 1 / 2 * (4 / 2 + 0) = 1, the
    weights 1/2, 1/2, 0, 0. Where it is perfect, all weigh the same."""
    logits = torch.tensor([1e3, 1e3, -math.log(9), -math.log(9)])
    torch.testing.assert_close(boosting_weights(logits, 0.5), torch.tensor([0.5, 0.5, 0.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(boosting_weights(torch.zeros(4), 0.25), torch.full((4,), 0.25, dtype=torch.float64))


def tiny() -> Any:
    """A model of three components, each a constant: 10, 20, 30."""
    recipe = gencore.recipe("adagan", num_components=3, critic_hidden=(8,))
    model = recipe.model(recipe.config)
    for number, generator in enumerate(model.generators):
        torch.nn.init.zeros_(generator[0].weight)
        torch.nn.init.constant_(generator[0].bias, 10.0 * (number + 1))
    return model


def test_samples_come_from_the_rounds_begun_as_often_each() -> None:
    """All three at first; the first two once the second round has begun."""
    model = tiny()
    shares = [(model.sample(900)[:, 0] == value).float().mean().item() for value in (10.0, 20.0, 30.0)]
    assert all(share == pytest.approx(1 / 3, abs=0.06) for share in shares)
    begin_round(model, 2)
    assert set(model.sample(100)[:, 0].tolist()) == {10.0, 20.0}


def test_a_round_trains_against_its_own_component_and_classifies_those_before() -> None:
    """The classifier of round 2 sees 10 and 20 as generated, the critic of round 2 sees 30."""
    model, batch, seen = tiny(), {"x": torch.zeros(64, 2)}, {}

    def record(name: str, module: Any, given: tuple[torch.Tensor, ...], output: Any) -> None:
        seen.setdefault(name, set()).update(given[0].flatten().tolist())

    model.classifiers[1].register_forward_hook(functools.partial(record, "classifier"))
    model.critics[2].register_forward_hook(functools.partial(record, "critic"))
    Round(2).classifier(model, batch)
    Round(2).critic(model, batch)
    assert seen == {"classifier": {0.0, 10.0, 20.0}, "critic": {0.0, 30.0}}


def test_the_stages_of_a_recipe() -> None:
    """A component, then a classifier and a component a round; bagging takes the plain data."""
    recipe = gencore.recipe("adagan", num_components=3, steps=7, classifier_steps=5)
    names = ["component 0", "classifier 1", "component 1", "classifier 2", "component 2"]
    assert [stage.name for stage in recipe.stages] == names
    assert [stage.steps for stage in recipe.stages] == [7, 5, 7, 5, 7]
    source, model = ring(num_examples=400), recipe.model(recipe.config)
    assert recipe.stages[2].data(source, model) is not source
    assert gencore.recipe("adagan", boost=False).stages[2].data(source, model) is source


MODES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])


class Begun(AdaGAN):
    """Its first three components stand on three of four modes."""

    def __init__(self, config: AdaGANConfig) -> None:
        super().__init__(config)
        for generator, mode in zip(self.generators, MODES[:3], strict=False):
            generator[0].weight.data = 0.1 * torch.eye(2)
            generator[0].bias.data = mode.clone()


@pytest.mark.behaviour
def test_the_next_round_learns_what_the_mixture_has_not(measured: Any) -> None:
    """A ring of four modes of which the mixture has three; 200 steps of the fourth round's classifier. The share of the
    fourth mode in the first epoch of the data that the fourth component then learns. The twin is bagging, on the plain
    data: 0.943 and 0.250. A component that has only begun, after 800 steps of such data, is drawn to the mode and not
    yet on it."""
    source, shares = ring(8000, num_modes=4, std=0.1), []
    for boost in (True, False):
        recipe = gencore.recipe("adagan", num_components=4, classifier_steps=200, boost=boost)
        classifier, component = recipe.stages[-2:]
        recipe = dataclasses.replace(recipe, model=Begun, stages=(classifier,))
        model = gencore.Trainer(recipe, source, seed=0, cpu=True).fit().eval()
        assert component.data is not None
        view = component.data(source, model)
        labels = view.fetch(epoch_order(view, 0, 0))["label"]
        shares.append((labels == 3).float().mean().item())
    measured(
        "adagan",
        "share of the mode that the mixture lacks in the data of the next round",
        figure=shares[0],
        twin=shares[1],
        bar=0.6,
        better="higher",
    )
