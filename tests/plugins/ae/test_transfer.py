"""Transfer: what is frozen, at which rates, which classes each stage sees, and the steps it saves."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from gencore_ae.parts.networks import DenseAutoencoder
from tests.plugins.ae.judged import everything


class WithBatchNorm(DenseAutoencoder):
    """An encoder with statistics that would drift."""

    def __init__(self, config: object) -> None:
        super().__init__(config)
        self.encoder.append(nn.BatchNorm1d(config.code_dim))


@pytest.mark.parametrize(("encoder_rate", "moves"), [(0.0, False), (0.5, True)])
def test_frozen_encoder_keeps_parameters_and_statistics(encoder_rate: float, moves: bool) -> None:
    """To the bit, over 50 steps of fine-tuning; the twin with a rate moves both."""
    recipe = gencore.recipe(
        "transfer-autoencoder", hidden=(8,), code_dim=3, steps=0, tuning_steps=50, encoder_rate=encoder_rate
    )
    recipe = dataclasses.replace(recipe, model=WithBatchNorm)
    trainer = gencore.Trainer(recipe, digits("train"), cpu=True)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    after = trainer.fit().state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    in_encoder = {name for name in changed if name.startswith("encoder")}
    assert bool(in_encoder) == moves
    assert any("running_mean" in name for name in in_encoder) == moves
    assert any(name.startswith("decoder") for name in changed)


def test_rates_of_fine_tuning() -> None:
    """One step of plain gradient descent: the encoder moves a tenth as far along its gradient as the decoder."""
    recipe = gencore.recipe("transfer-autoencoder", encoder_rate=0.1, learning_rate=0.01)
    phases = {phase.name: phase.optimizer.learning_rate for phase in recipe.stages[1].phases}
    assert phases == {"decoder": 0.01, "encoder": pytest.approx(0.001)}
    slow = [
        dataclasses.replace(phase, optimizer=gencore.SGD(learning_rate=rate))
        for phase, rate in zip(recipe.stages[1].phases, (1e-4, 1e-5), strict=True)
    ]
    model = recipe.model(recipe.config)
    x = recipe.stages[1].data(digits("train"), model).fetch(torch.arange(8))["x"]
    for phase in slow:
        part = getattr(model, phase.name)[1 if phase.name == "encoder" else 0]
        torch.manual_seed(0)
        loss = recipe.stages[1].objective.loss(model, phase.name, {"x": x}).total
        (slope,) = torch.autograd.grad(loss, part.weight)
        part.weight.grad, before = slope, part.weight.detach().clone()
        phase.optimizer.build([part.weight]).step()
        torch.testing.assert_close(
            part.weight.detach() - before, -phase.optimizer.learning_rate * slope, atol=1e-7, rtol=1e-2
        )


@pytest.mark.parametrize(
    ("rate", "phases"),
    [(0.0, [("decoder",)]), (0.1, [("decoder",), ("encoder",)]), (1.0, [("encoder", "decoder")])],
)
def test_parts_at_one_rate_step_together(rate: float, phases: list) -> None:
    """In turn, at one rate, they drive each other apart (transfer.py)."""
    recipe = gencore.recipe("transfer-autoencoder", encoder_rate=rate)
    assert [phase.parts for phase in recipe.stages[1].phases] == phases


def test_stages_of_transfer_see_their_classes() -> None:
    recipe = gencore.recipe("transfer-autoencoder", num_target=20)
    first, second = (stage.data(digits("train"), None) for stage in recipe.stages)
    assert set(first.fetch(torch.arange(len(first)))["label"].tolist()) == {0, 1, 2, 3, 4}
    seen = second.fetch(torch.arange(len(second)))
    assert seen["label"].unique().tolist() == [5, 6, 7, 8, 9]
    assert seen["index"].unique().numel() == 20


def test_transfer_needs_other_classes() -> None:
    recipe = gencore.recipe("transfer-autoencoder", source_classes=tuple(range(10)))
    with pytest.raises(GencoreError, match="source_classes"):
        recipe.stages[1].data(digits("train"), None)


@pytest.mark.behaviour
def test_transfer_saves_steps(measured) -> None:
    """50 steps of fine-tuning on 200 digits of the other classes leave 0.7 of the error of 400 from scratch, the twin.

    At 16 x 16 pixels, three seeds: 3.36, 3.63, 3.45 against 5.87, 6.21, 6.00; before any fine-tuning 6.4 to 6.6.
    """
    train, test = digits("train", image_size=16), everything(digits("test", image_size=16))
    x = test["x"][test["label"] > 4]
    errors = []
    for steps, tuning_steps in ((1500, 50), (0, 400)):
        recipe = gencore.recipe(
            "transfer-autoencoder",
            data_shape=(1, 16, 16),
            steps=steps,
            tuning_steps=tuning_steps,
            encoder_rate=1.0,
            noise=0.2,
        )
        model: Any = gencore.Trainer(recipe, train, cpu=True).fit().eval()
        with torch.no_grad():
            errors.append((model.reconstruct(x) - x).square().flatten(1).sum(1).mean().item())
    measured(
        "transfer-autoencoder",
        "error over that of 400 steps from scratch",
        figure=errors[0] / errors[1],
        twin=1.0,
        bar=0.7,
        better="lower",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder_rate": -1.0}, "encoder_rate"),
        ({"encoder_rate": 2.0}, "encoder_rate"),
        ({"source_classes": ()}, "source_classes"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.recipe("transfer-autoencoder", **arguments)
