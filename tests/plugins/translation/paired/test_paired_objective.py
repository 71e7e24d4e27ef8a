"""The objective of pairs: each loss is its formula, each weight and each name arrives, bad pairs are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencore.adversarial.losses import non_saturating
from gencore.errors import GencoreError
from gencore_translation.paired.esrgan import relativistic_critic_loss, relativistic_generator_loss
from gencore_translation.parts.critics import receptive_field, texture_critic
from gencore_translation.parts.enlarging import factors, subpixel_layer
from gencore_translation.parts.paired import PairedTranslation, RelativisticLosses, cosine
from gencore_translation.parts.perceptual import PerceptualDistance


class Pair(nn.Module):
    """G(c) = w c; D(x) = v mean(x), and with a condition + 3 mean(c)."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(2.0))

    def generator(self, given: Tensor) -> Tensor:
        return self.w * given

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        judged = self.v * x.mean((1, 2, 3))
        return judged if condition is None else judged + 3 * condition.mean((1, 2, 3))


@pytest.fixture
def batch() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {"x": torch.rand(4, 1, 6, 6), "x_input": torch.rand(4, 1, 6, 6)}


@pytest.mark.parametrize("sees_input", [False, True])
def test_the_plain_game(batch: dict[str, Tensor], sees_input: bool) -> None:
    model: Any = Pair()
    terms = {"l1": (10.0, F.l1_loss), "features": (0.5, PerceptualDistance()), "off": (0.0, F.mse_loss)}
    objective = PairedTranslation(terms, non_saturating, game_weight=2.0, critic_weight=0.5, sees_input=sees_input)
    given, x = batch["x_input"], batch["x"]
    made = 0.5 * given
    beside = 3 * given.mean((1, 2, 3)) if sees_input else 0
    real, fake = 2 * x.mean((1, 2, 3)) + beside, 2 * made.mean((1, 2, 3)) + beside
    critic = objective.loss(model, "critic", batch)
    torch.testing.assert_close(critic.total, 0.5 * ((-real).exp().log1p().mean() + fake.exp().log1p().mean()))
    generator = objective.loss(model, "generator", batch)
    values = {"l1": (made - x).abs().mean(), "features": PerceptualDistance()(made, x)}
    values["game"] = (-fake).exp().log1p().mean()
    assert generator.metrics.keys() == values.keys()
    for name, value in values.items():
        torch.testing.assert_close(generator.metrics[name], value)
    torch.testing.assert_close(generator.total, 10 * values["l1"] + 0.5 * values["features"] + 2 * values["game"])


def test_the_relativistic_game(batch: dict[str, Tensor]) -> None:
    model: Any = Pair()
    objective = PairedTranslation({}, RelativisticLosses(relativistic_critic_loss, relativistic_generator_loss))
    real, fake = 2 * batch["x"].mean((1, 2, 3)), batch["x_input"].mean((1, 2, 3))
    loss = objective.loss(model, "generator", batch).total
    torch.testing.assert_close(loss, relativistic_generator_loss(real, fake))
    loss.backward()
    assert model.w.grad != 0
    torch.testing.assert_close(objective.loss(model, "critic", batch).total, relativistic_critic_loss(real, fake))


def test_the_critics_step_does_not_reach_the_generator(batch: dict[str, Tensor]) -> None:
    model: Any = Pair()
    PairedTranslation({}, non_saturating).loss(model, "critic", batch).total.backward()
    assert model.w.grad is None
    assert model.v.grad != 0


def test_noise_is_on_all_that_is_judged_and_on_nothing_else(batch: dict[str, Tensor]) -> None:
    model: Any = Pair()
    objective = PairedTranslation({"l1": (1.0, F.l1_loss)}, non_saturating, noise=0.5)
    torch.manual_seed(3)
    loss = objective.loss(model, "critic", batch)
    torch.manual_seed(3)
    real = 2 * (batch["x"] + 0.5 * torch.randn(4, 1, 6, 6)).mean((1, 2, 3))
    fake = 2 * (0.5 * batch["x_input"] + 0.5 * torch.randn(4, 1, 6, 6)).mean((1, 2, 3))
    torch.testing.assert_close(loss.total, F.softplus(-real).mean() + F.softplus(fake).mean())
    torch.manual_seed(3)
    loss = objective.loss(model, "generator", batch)
    torch.manual_seed(3)
    fake = 2 * (0.5 * batch["x_input"] + 0.5 * torch.randn(4, 1, 6, 6)).mean((1, 2, 3))
    torch.testing.assert_close(loss.metrics["game"], F.softplus(-fake).mean())
    torch.testing.assert_close(loss.metrics["l1"], (0.5 * batch["x_input"] - batch["x"]).abs().mean())


def test_bad_pairs_and_weights_are_refused(batch: dict[str, Tensor]) -> None:
    model: Any = Pair()
    objective = PairedTranslation({"l1": (1.0, F.l1_loss)})
    with pytest.raises(GencoreError, match="x_input"):
        objective.loss(model, "generator", {"x": batch["x"]})
    with pytest.raises(GencoreError, match=r"\(1, 6, 6\).*\(1, 12, 12\)"):
        objective.loss(model, "generator", {**batch, "x": torch.zeros(4, 1, 12, 12)})
    with pytest.raises(GencoreError, match="l1_weight"):
        PairedTranslation({"l1": (-1.0, F.l1_loss)})
    with pytest.raises(GencoreError, match="game_weight"):
        PairedTranslation({}, non_saturating, game_weight=-1.0)
    with pytest.raises(GencoreError, match="critic_noise"):
        PairedTranslation({}, non_saturating, noise=-1.0)


def test_cosine() -> None:
    factor = cosine(100)
    assert [factor(step) for step in (0, 50, 100, 300)] == pytest.approx([1, 0.5, 0, 0])


@pytest.mark.parametrize(("scale", "expected"), [(1, ()), (2, (2,)), (3, (3,)), (4, (2, 2)), (8, (2, 2, 2))])
def test_factors(scale: int, expected: tuple[int, ...]) -> None:
    assert factors(scale) == expected


@pytest.mark.parametrize("factor", [2, 3])
def test_subpixel_layers_start_with_equal_pixels_and_shuffle_in_order(factor: int) -> None:
    """Each place's pixels agree at the start; then pixel (i, j) of a place is channel factor i + j of the layer."""
    layer = subpixel_layer(2, factor)
    h = torch.randn(1, 2, 4, 5)
    made = layer(h)
    assert made.shape == (1, 2, 4 * factor, 5 * factor)
    assert torch.equal(made, made[..., ::factor, ::factor].repeat_interleave(factor, 2).repeat_interleave(factor, 3))
    with torch.no_grad():
        layer[0].weight.normal_()  # type: ignore[union-attr, operator]
        maps, made = layer[0](h), layer(h)
    for i in range(factor):
        for j in range(factor):
            assert torch.equal(made[:, 1, i::factor, j::factor], maps[:, factor**2 + factor * i + j])


def test_the_texture_critics_field() -> None:
    critic = texture_critic(1, width=2)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.fill_(1.0)
    x = torch.ones(1, 1, 40, 40, requires_grad=True)
    critic(x)[0, 0, 10, 10].backward()
    assert x.grad is not None
    seen = x.grad[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [11, 11]
    assert receptive_field(critic) == 11
