"""Blind representation: its losses, and what fresh probes read from the codes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from gencore.evaluation.probe import accuracy, linear_probe, nonlinear_probe
from gencore.training.trainer import Trainer
from gencore_adaptation.parts.marked import marked, marked_digits


def system(**overrides: Any) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    recipe: Any = gencore.recipe("blind-representation", noise_std=0.0, **overrides)
    return recipe.model(recipe.config), recipe.stages[0].objective, marked_digits().fetch(torch.arange(12))


def test_losses_by_formula() -> None:
    """w ||x - G(z, a)||^2 + CE - lambda BCE, and the critic's own BCE; the critic leaves the encoder alone."""
    model, objective, batch = system(strength=0.7, reconstruction_weight=3.0)
    z = model.encode(batch["x"])
    guess = binary_cross_entropy_with_logits(model.critic(z), batch["attributes"])
    error = (model.generate(z, condition=batch["attributes"]) - batch["x"]).square().mean()
    expected = 3 * error + cross_entropy(model.head(z), batch["label"]) - 0.7 * guess
    torch.testing.assert_close(objective.representation(model, batch).total, expected)
    loss = objective.critic(model, batch).total
    torch.testing.assert_close(loss, guess)
    loss.backward()
    assert all(p.grad is None for p in model.encoder.parameters())


def test_noise_is_on_the_code() -> None:
    """Of the standard deviation that the config says."""
    from gencore_adaptation.blind_representation import noisy_code

    model: Any = gencore.create("blind-representation", noise_std=0.5)
    x = marked_digits().x
    with torch.no_grad():
        noise = noisy_code(model, x) - model.encode(x)
    assert noise.std().item() == pytest.approx(0.5, rel=0.03)


def test_the_decoder_sees_the_attribute() -> None:
    """Other attributes, other pictures; none, an error; translate takes them away or puts them on."""
    model, _, batch = system()
    z = model.encode(batch["x"])
    ones = torch.ones(12, 1)
    assert not torch.equal(model.generate(z, condition=ones), model.generate(z, condition=0 * ones))
    assert torch.equal(model.translate(batch["x"]), model.generate(z, condition=0 * ones))
    assert torch.equal(model.translate(batch["x"], to=torch.ones(1)), model.generate(z, condition=ones))
    with pytest.raises(GencoreError, match="blind to"):
        model.generate(z)


def test_refusals() -> None:
    """Data without attributes, and without labels."""
    with pytest.raises(GencoreError, match="attributes"):
        Trainer(gencore.recipe("blind-representation", steps=1), digits(), cpu=True).fit()
    model, objective, batch = system()
    with pytest.raises(GencoreError, match="no labels"):
        objective.representation(model, {key: batch[key] for key in ("x", "attributes")})


def figures(seed: int, **overrides: Any) -> dict[str, float]:
    """Fresh probes on held-out digits: the mark, linear and not, and the digit; errors of own and swapped marks."""
    recipe = gencore.recipe("blind-representation", **overrides)
    train, test = marked_digits("train"), marked_digits("test")
    model: Any = Trainer(recipe, train, seed=seed, cpu=True).fit().eval()
    with torch.no_grad():
        z, z_test = model.encode(train.x), model.encode(test.x)
        mark, mark_test = (s.further["attributes"][:, 0].long() for s in (train, test))
        own, other = mark_test[:, None].float(), 1 - mark_test[:, None].float()
        pairs = ((own, test.x), (other, marked(digits("test").x, other)))
        errors = [(model.generate(z_test, condition=a) - x).square().mean().item() for a, x in pairs]
    label, label_test = train.further["label"], test.further["label"]
    return {
        "linear": accuracy(linear_probe(z, mark), z_test, mark_test),
        "nonlinear": accuracy(nonlinear_probe(z, mark), z_test, mark_test),
        "digit": accuracy(linear_probe(z, label), z_test, label_test),
        "swap": errors[1] / errors[0],
    }


@pytest.mark.behaviour
def test_fresh_probes_do_not_find_the_mark(measured: Any) -> None:
    """At seeds 0, 1: 0.610, 0.592 (nonlinear 0.640, 0.612), the digit 0.952, 0.960, swapped over own error 1.03, 1.01.

    Without the adversary 0.997, 1.000 and a swap of 3.8: what the decoder is given the code does not give up by
    itself. Untrained 0.965, 0.975, the digit 0.829, 0.841. Half are marked: 0.5 is chance.
    """
    page, twin = figures(0), figures(0, strength=0.0)
    assert page["digit"] > 0.93
    assert page["swap"] < 1.5
    assert page["nonlinear"] < 0.8
    measured(
        "blind-representation",
        "a fresh linear probe of the hidden mark; twin: no adversary",
        figure=page["linear"],
        twin=twin["linear"],
        bar=0.66,
        better="lower",
    )
