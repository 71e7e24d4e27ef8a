"""Several players on shared parts: who gets which gradient, and the gates."""

from __future__ import annotations

import math

import pytest
import torch

import gencore
from gencore_vae.aae import AAEConfig, mixture_of_gaussians
from gencore_vae.vae_gan import Balance, LearnedSimilarity, balance, feature_distance


def gradients(recipe: gencore.Recipe, phase: str) -> dict[str, bool]:
    """Which parts of the model the loss of a phase would reach, if nothing were held fixed."""
    torch.manual_seed(0)
    model, objective = recipe.model(recipe.config), recipe.stages[0].objective
    objective.loss(model, phase, {"x": torch.rand(4, *recipe.config.data_shape) * 2 - 1}).total.backward()
    return {
        name: any(p.grad is not None and bool((p.grad != 0).any()) for p in part.parameters())
        for name, part in model.named_children()
    }


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


def test_aae_routing() -> None:
    recipe = gencore.recipe("aae", hidden=(8,), latent_dim=3, critic_hidden=(8,))
    assert gradients(recipe, "reconstruction") == {"encoder": True, "decoder": True, "critic": False}
    assert gradients(recipe, "critic") == {"encoder": False, "decoder": False, "critic": True}
    assert gradients(recipe, "fool")["encoder"]
    assert not gradients(recipe, "fool")["decoder"]
    assert [phase.parts for phase in recipe.stages[0].phases] == [("encoder", "decoder"), ("critic",), ("encoder",)]


def test_aae_labels_the_prior_as_real() -> None:
    """A critic whose logit falls with |z|, on codes far out: little to pay for the critic, much for the encoder."""
    recipe = gencore.recipe("aae", latent_dim=2, hidden=(8,))
    model, objective = recipe.model(recipe.config), recipe.stages[0].objective
    model.judge_codes = lambda z: 10 - z.square().sum(1)
    model.encode = lambda x: torch.full((len(x), 2), 5.0)
    batch = {"x": torch.zeros(4, 1, 8, 8)}
    assert objective.loss(model, "critic", batch).total < 0.1
    assert objective.loss(model, "fool", batch).total.item() == pytest.approx(40, abs=0.01)


def test_mixture_of_gaussians() -> None:
    """Ten clusters at radius 2, each 0.5 long and 0.1 wide."""
    torch.manual_seed(0)
    points = mixture_of_gaussians(torch.zeros(50_000), torch.randn(50_000, 2))
    torch.testing.assert_close(points.mean(0), torch.tensor([2.0, 0.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(points.std(0), torch.tensor([0.5, 0.1]), rtol=0.02, atol=0)
    turned = mixture_of_gaussians(torch.full((1,), 2.5), torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(turned, torch.tensor([[-0.1, 2.0]]), atol=1e-5, rtol=0)
    model = gencore.create("aae", prior="mixture", latent_dim=2)
    codes = model.draw_prior(gencore.Noise(0, 0, 2000))
    sectors = (torch.atan2(codes[:, 1], codes[:, 0]) / (2 * math.pi / 10)).round().long() % 10
    assert sectors.bincount(minlength=10).min() > 120


def test_bad_configs() -> None:
    with pytest.raises(gencore.GencoreError, match="2 for a mixture"):
        AAEConfig(data_shape=(1, 8, 8), prior="mixture", latent_dim=8)
    with pytest.raises(gencore.GencoreError, match="--image-size 32"):
        gencore.recipe("vae-gan", data_shape=(1, 28, 28))
