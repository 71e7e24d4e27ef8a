"""The improved GAN: its formulas by hand, and a critic that tells a collapsed generator by the batch alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

import gencore
from gencore.adversarial.losses import logistic_critic_loss as critic_loss
from gencore.data import digits
from gencore.errors import GencoreError
from gencore_gan.parts.networks import BatchView
from gencore_gan.stabilisers.improved_gan import (
    ImprovedAdversarial,
    ImprovedGAN,
    ImprovedGANConfig,
    feature_distance,
    smoothed,
)


def test_smoothing_is_one_sided() -> None:
    """The real term's best logit is log(a / (1 - a)); the generated term is the plain game's."""
    real, fake = torch.randn(2, 9, dtype=torch.float64)
    torch.testing.assert_close(smoothed(1.0).critic(real, fake), critic_loss(real, fake))
    difference = smoothed(0.9).critic(real, fake) - smoothed(0.9).critic(real, fake + 1)
    torch.testing.assert_close(difference, critic_loss(real, fake) - critic_loss(real, fake + 1))
    best = torch.tensor([0.9 / 0.1], dtype=torch.float64).log().requires_grad_()
    (slope,) = torch.autograd.grad(smoothed(0.9).critic(best, fake), best)
    assert slope.abs().item() < 1e-12


def test_feature_matching() -> None:
    """Zero for equal means, the squared length of their difference otherwise; the critic's features feel it."""
    features = torch.randn(6, 2, 3, dtype=torch.float64)
    assert feature_distance(features, features.flip(0)).item() < 1e-24
    torch.testing.assert_close(feature_distance(features, features + 0.5), torch.tensor(6 * 0.25, dtype=torch.float64))
    model = ImprovedGAN(ImprovedGANConfig(data_shape=(1, 8, 8), width=4))
    objective = ImprovedAdversarial(real_target=1.0, feature_matching=True)
    x = torch.rand(8, 1, 8, 8) * 2 - 1
    torch.manual_seed(0)
    total = objective.loss(model, "generator", {"x": x}).total
    torch.manual_seed(0)
    fake = model.generate(torch.randn(8, 64))
    torch.testing.assert_close(total, (model.features(x).mean(0) - model.features(fake).mean(0)).square().sum())


@pytest.mark.parametrize("batch_view", ["none", "discrimination", "stddev"])
def test_judgement_is_the_last_layer_on_the_features(batch_view: BatchView) -> None:
    model = ImprovedGAN(ImprovedGANConfig(data_shape=(3, 16, 16), width=2, batch_view=batch_view)).eval()
    x = torch.rand(8, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(model.critic[-1](model.features(x)).flatten(), model.judge(x))
    alone = torch.cat([model.judge(row[None]) for row in x])
    assert torch.allclose(alone, model.judge(x), atol=1e-6) == (batch_view == "none")


@pytest.mark.parametrize("wrong", [{"real_target": 0.4}, {"real_target": 1.1}, {"generator_loss": "mse"}])
def test_bad_arguments(wrong: dict) -> None:
    with pytest.raises(GencoreError, match=next(iter(wrong))):
        gencore.recipe("improved-gan", **wrong)


class OneDigitABatch(nn.Module):
    """A collapsed generator with the right marginal: every batch repeats one real digit, chosen by the first z."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.register_buffer("images", images)

    def forward(self, z: Tensor) -> Tensor:
        place = int(torch.special.ndtr(z[0, 0]).item() * len(self.images))
        return self.images[min(place, len(self.images) - 1)].expand(len(z), -1, -1, -1)


class CollapsedGAN(ImprovedGAN):
    def __init__(self, config: ImprovedGANConfig) -> None:
        super().__init__(config)
        source = digits("train")
        self.generator = OneDigitABatch(source.fetch(torch.arange(len(source)))["x"])


def share_told(batch_view: BatchView) -> float:
    """The share of examples that a trained critic puts on the right side, on fresh batches."""
    recipe = gencore.recipe("improved-gan", width=16, steps=600, batch_size=32, learning_rate=2e-3)
    config = dataclasses.replace(recipe.config, batch_view=batch_view, critic_norm="none")
    critic_only = dataclasses.replace(recipe.stages[0], phases=recipe.stages[0].phases[:1])
    recipe = dataclasses.replace(recipe, model=CollapsedGAN, config=config, stages=(critic_only,), ema=())
    model = gencore.Trainer(recipe, digits("train"), cpu=True).fit().eval()
    test = digits("test")
    right = []
    with torch.no_grad():
        for batch in range(12):
            real = test.fetch(torch.arange(32) + 32 * batch)["x"]
            fake = model.generate(torch.randn(32, 64, generator=torch.Generator().manual_seed(batch)))
            right += [(model.judge(real) > 0).float().mean(), (model.judge(fake) < 0).float().mean()]
    return torch.stack(right).mean().item()


@pytest.mark.behaviour
def test_only_a_critic_that_sees_the_batch_tells_collapse(measured) -> None:
    """Each generated example is a real digit, so only the others in its batch betray it. Twin: the same critic without
    its view of the batch."""
    assert share_told("stddev") > 0.9
    measured(
        "improved-gan",
        "share of a collapsed generator's batches that the critic tells",
        figure=share_told("discrimination"),
        twin=share_told("none"),
        bar=0.9,
        better="higher",
    )


def test_players_are_held_to_their_past() -> None:
    """After a step, each player's loss is the plain one and c ||theta - theta_1||^2; the mean is taken after steps."""
    torch.manual_seed(0)
    recipe = gencore.recipe("improved-gan", width=4, historical_weight=0.5, critic_norm="none", generator_norm="none")
    objective, model, x = recipe.stages[0].objective, recipe.model(recipe.config), torch.rand(8, 1, 8, 8)

    def losses() -> list[float]:
        found = []
        for phase in ("critic", "generator"):
            torch.manual_seed(1)
            found.append(objective.loss(model, phase, {"x": x}).total.item())
        return found

    plain = losses()
    for player in ("critic", "generator"):
        objective.after_step(model, player, [])
    assert losses() == pytest.approx(plain)
    objective.history["critic"].mean += 0.1
    objective.history["generator"].mean -= 0.2
    counts = [sum(p.numel() for p in part.parameters()) for part in (model.critic, model.generator)]
    extra = [0.5 * counts[0] * 0.01, 0.5 * counts[1] * 0.04]
    assert losses() == pytest.approx([a + b for a, b in zip(plain, extra, strict=True)], rel=1e-4)
