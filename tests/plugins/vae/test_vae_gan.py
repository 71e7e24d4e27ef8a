"""VAE/GAN: who gets which loss, the gates, and the sharpness of real digits rebuilt."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore_vae.vae_gan import Balance, LearnedSimilarity, balance, feature_distance
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vae.vae_digits import grey, train
from tests.plugins.vae.vae_models import gradients


def test_vae_gan_routing() -> None:
    """The encoder gets no game, the critic no feature loss; other parts are held fixed by the trainer's phases."""
    recipe = gencore.recipe("vae-gan", width=4, latent_dim=3)
    assert gradients(recipe, "encoder")["encoder"]
    assert gradients(recipe, "decoder") == {"encoder": False, "decoder": True, "critic": True}
    assert gradients(recipe, "critic") == {"encoder": False, "decoder": False, "critic": True}
    assert [phase.parts for phase in recipe.stages[0].phases] == [("encoder",), ("decoder",), ("critic",)]


def test_vae_gan_encoder_loss_has_no_game() -> None:
    """Moving the critic's head, which only the game uses, leaves the encoder's loss as it is."""
    recipe = gencore.recipe("vae-gan", width=4, latent_dim=3)
    torch.manual_seed(0)
    model, objective, x = recipe.model(recipe.config), recipe.stages[0].objective, torch.rand(4, 1, 8, 8)
    losses = []
    for _ in range(2):
        torch.manual_seed(1)
        losses.append({phase: objective.loss(model, phase, {"x": x}).total.item() for phase in ("encoder", "critic")})
        model.critic.head.bias.data += 1
    assert losses[0]["encoder"] == losses[1]["encoder"]
    assert losses[0]["critic"] != losses[1]["critic"]


def test_vae_gan_losses_by_hand() -> None:
    """With a critic whose logit is 0 everywhere each game term is log 2."""
    recipe = gencore.recipe("vae-gan", width=4, latent_dim=3, feature_weight=0.5)
    torch.manual_seed(0)
    model, objective, x = recipe.model(recipe.config), recipe.stages[0].objective, torch.rand(4, 1, 8, 8)
    torch.nn.init.zeros_(model.critic.head.weight)
    torch.nn.init.zeros_(model.critic.head.bias)
    assert objective.loss(model, "critic", {"x": x}).total.item() == pytest.approx(3 * math.log(2))
    torch.manual_seed(5)
    encoder = objective.loss(model, "encoder", {"x": x})
    torch.manual_seed(5)
    decoder = objective.loss(model, "decoder", {"x": x})
    expected = 0.5 * encoder.metrics["feature_distance"] + 2 * math.log(2)
    torch.testing.assert_close(decoder.total, expected)
    torch.testing.assert_close(encoder.total, encoder.metrics["kl"] + encoder.metrics["feature_distance"])


def test_vae_gan_players_want_opposite_things() -> None:
    """A critic that believes everything (logit 30) costs itself 2 x 30 for the two fakes, and the decoder nothing."""
    recipe = gencore.recipe("vae-gan", width=4, latent_dim=3)
    model, objective = recipe.model(recipe.config), recipe.stages[0].objective
    torch.nn.init.zeros_(model.critic.head.weight)
    torch.nn.init.constant_(model.critic.head.bias, 30.0)
    batch = {"x": torch.rand(4, 1, 8, 8)}
    assert objective.loss(model, "critic", batch).total.item() == pytest.approx(60)
    assert objective.loss(model, "decoder", batch).metrics["game"] < 1e-6


def test_feature_distance() -> None:
    a, b = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    assert feature_distance(a, b).item() == pytest.approx((2.5 + 2.0) / 2)


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        (0.68, 0.68, Balance(critic=True, decoder=True)),
        (0.1, 0.68, Balance(critic=False, decoder=True)),
        (0.68, 0.1, Balance(critic=False, decoder=True)),
        (1.5, 0.68, Balance(critic=True, decoder=False)),
        (0.68, 1.5, Balance(critic=True, decoder=False)),
        (0.1, 1.5, Balance(critic=True, decoder=True)),
    ],
)
def test_balance(real: float, fake: float, expected: Balance) -> None:
    """The table of the gates; the last row is the rescue when both would rest."""
    assert balance(real, fake, equilibrium=0.68, margin=0.4) == expected


def test_gates_read_the_measured_costs() -> None:
    """A critic that is sure rests at once: the first phase measured it on this batch."""
    recipe = gencore.recipe("vae-gan", width=4, latent_dim=3)
    torch.manual_seed(0)
    model, objective = recipe.model(recipe.config), LearnedSimilarity(feature_weight=0.1, equilibrium=0.68, margin=0.4)
    assert objective.gates() == (True, True)
    model.critic.head.bias.data.fill_(10.0)
    seen = objective.loss(model, "encoder", {"x": torch.rand(4, 1, 8, 8)}).seen
    objective.after_step(model, "encoder", [seen])
    assert objective.costs[0] < 0.01
    assert objective.costs[1] > 5
    assert "costs" in objective.state_dict()
    critic_phase = recipe.stages[0].phases[2]
    objective.costs.copy_(torch.tensor([0.05, 0.6]))
    assert critic_phase.gate is not None
    assert not critic_phase.gate(objective)


def test_costs_are_averaged_over_batches_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes that saw the same."""
    monkeypatch.setattr("gencore_vae.vae_gan.sum_over_processes", lambda tensor: 3 * tensor)
    monkeypatch.setattr("gencore_vae.vae_gan.process_count", lambda: 3)
    objective = LearnedSimilarity(feature_weight=1.0, equilibrium=0.68, margin=0.4)
    seen = [torch.tensor([0.2, 0.6]), torch.tensor([0.4, 1.0])]
    objective.after_step(None, "decoder", [])
    assert objective.costs.tolist() == pytest.approx([0.68, 0.68])
    objective.after_step(None, "encoder", seen)
    assert objective.costs.tolist() == pytest.approx([0.3, 0.8])


def test_bad_configs() -> None:
    with pytest.raises(gencore.GencoreError, match="--image-size 32"):
        gencore.recipe("vae-gan", data_shape=(1, 28, 28))


def sharpness(x: Tensor) -> float:
    """Mean squared discrete Laplacian."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    return torch.nn.functional.conv2d(x, kernel).square().mean().item()


@torch.no_grad()
def rebuilt(model: Any) -> tuple[float, float]:
    """Sharpness of reconstructions over that of the digits, and the squared error of an image."""
    images = model.reconstruct(grey("test"))
    return sharpness(images) / sharpness(grey("test")), (images - grey("test")).square().flatten(1).sum(1).mean().item()


@pytest.mark.behaviour
def test_vae_gan_is_sharp(measured) -> None:
    """Sharpness of reconstructions 0.85, 0.78 (seeds 0, 1) with the learned similarity; 0.18 for the twin with unit
    pixel variance."""
    recipe = gencore.recipe("vae-gan", steps=650, width=16, learning_rate=1e-3)
    page = train(recipe, grey("train"))
    draws_nearer(page, grey("test"))
    sharp, error = rebuilt(page)
    twin = gencore.recipe("conv-vae", steps=650, width=16, decoder_std=1.0)
    twin_sharp, _ = rebuilt(train(twin, grey("train")))
    assert sharp < 2.0
    assert twin_sharp < 0.5
    assert error < 18.8 / 2, "half the variance of the digits: these are reconstructions, not any digits"
    measured(
        "vae-gan",
        "sharpness of reconstructions over that of digits",
        figure=sharp,
        twin=twin_sharp,
        bar=0.6,
        better="higher",
    )
