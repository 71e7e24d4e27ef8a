"""Classifier on an autoencoder's code: which data and parts each stage sees, and what few labels give."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest
import torch
from torch import nn

import gencore
from gencore.data import InMemory, digits
from gencore.errors import GencoreError
from gencore_ae.classifier import JointObjective, classification
from tests.plugins.ae.judged import everything


def source(count: int = 40, classes: int = 4) -> InMemory:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 1, 8, 8, generator=generator) * 2 - 1
    return InMemory(x=x, label=torch.arange(count) % classes, num_classes=classes)


def classifier(**arguments: object) -> tuple[object, gencore.Recipe]:
    recipe = gencore.recipe("autoencoder-classifier", num_classes=4, hidden=(8,), code_dim=3, num_labels=8, **arguments)
    torch.manual_seed(0)
    return recipe.model(recipe.config), recipe


def gradients(total: torch.Tensor, model: nn.Module) -> dict[str, torch.Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    return {name: torch.zeros(()) if g is None else g for name, g in zip(names, found, strict=True)}


def test_joint_loss_routes_each_stream() -> None:
    """With weight 0 the labelled stream sends no gradient; the unlabelled one never sends any to the head."""
    model, _ = classifier()
    x, label = torch.rand(4, 1, 8, 8), torch.arange(4)
    losses = [
        JointObjective(weight).loss(model, "joint", {"x": x, "label": label, "x_unlabelled": x + 0.1}).total
        for weight in (0.0, 2.0)
    ]
    alone, both = (gradients(loss, model) for loss in losses)
    labelled = gradients(classification(model, {"x": x, "label": label}).total, model)
    assert all(alone[name].abs().max() == 0 for name in alone if name.startswith("head"))
    for name, gradient in both.items():
        torch.testing.assert_close(gradient, alone[name] + 2 * labelled[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["two-stage", "fine-tune", "joint"])
def test_every_stage_sees_the_labelled_examples_only(method: str) -> None:
    """The classifier's stage, or the labelled stream, holds num_labels different examples, evenly of each class."""
    model, recipe = classifier(method=method)
    data = source(400)
    view = recipe.stages[-1].data(data, model)
    batch = view.fetch(torch.arange(64))
    assert batch["index"].unique().numel() == 8
    assert batch["label"].bincount().tolist() == [16] * 4
    assert ("x_unlabelled" in batch) == (method == "joint")
    assert "label_unlabelled" not in batch


@pytest.mark.parametrize(("method", "moves"), [("two-stage", False), ("fine-tune", True)])
def test_second_stage_freezes_what_it_says(method: str, moves: bool) -> None:
    _, recipe = classifier(method=method, steps=0, classifier_steps=5)
    before = gencore.Trainer(dataclasses.replace(recipe, stages=recipe.stages[:1]), source(400), cpu=True).model
    after = gencore.Trainer(recipe, source(400), cpu=True).fit()
    changed = {
        name.split(".")[0]
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert changed == ({"head", "encoder"} if moves else {"head"})


def test_rates_of_a_classifier() -> None:
    """The head learns ten times as fast as the autoencoder did, the encoder beneath it a tenth."""
    recipe = gencore.recipe("autoencoder-classifier", method="fine-tune", learning_rate=0.01, num_classes=2)
    assert {phase.name: phase.optimizer.learning_rate for stage in recipe.stages for phase in stage.phases} == {
        "autoencoder": 0.01,
        "head": pytest.approx(0.1),
        "encoder": pytest.approx(0.001),
    }


@torch.no_grad()
def accuracy(**arguments: Any) -> float:
    """Of 397 held-out digits, with 50 labels."""
    recipe = gencore.recipe("autoencoder-classifier", num_labels=50, classifier_steps=300, **arguments)
    model: Any = gencore.Trainer(recipe, digits("train"), cpu=True).fit().eval()
    test = everything(digits("test"))
    return (model.judge(test["x"]).argmax(1) == test["label"]).float().mean().item()


@functools.cache
def untrained() -> float:
    return accuracy(method="two-stage", steps=0)


@pytest.mark.behaviour
@pytest.mark.parametrize("method", ["two-stage", "fine-tune", "joint"])
def test_codes_carry_the_classes(method: str, measured) -> None:
    """Better by 0.1 than codes of an untrained encoder, the twin; no claim is made against raw pixels."""
    measured(
        "autoencoder-classifier",
        f"accuracy with 50 labels, {method}",
        figure=accuracy(method=method, steps=800),
        twin=untrained(),
        bar=untrained() + 0.1,
        better="higher",
    )


@pytest.mark.parametrize(("arguments", "message"), [({"method": "hope"}, "hope"), ({"num_classes": 1}, "num_classes")])
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.recipe("autoencoder-classifier", **arguments)
