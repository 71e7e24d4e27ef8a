"""C-RNN-GAN: who rests, what each step sees, pre-training before the game."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import gencore
from gencore.errors import GencoreError
from gencore_gan.sequences.c_rnn_gan import FreezingGame, rests


@pytest.mark.parametrize(("own", "other", "waits"), [(0.69, 1.0, True), (0.71, 1.0, False), (1.0, 0.5, False)])
def test_who_is_below_a_share_of_the_other_rests(own: float, other: float, waits: bool) -> None:
    """0.7 of it."""
    assert rests(own, other) is waits


def game(pretraining: int = 0, matching: bool = False, **arguments: Any) -> tuple[FreezingGame, Any]:
    """A small model."""
    torch.manual_seed(0)
    recipe = gencore.recipe("c-rnn-gan", width=6, latent_dim=2, **arguments)
    objective = FreezingGame(pretraining_steps=pretraining, freeze=0.7, feature_matching=matching)
    return objective, recipe.model(recipe.config)


@pytest.mark.parametrize(
    ("critic", "generator", "may"), [(0.2, 1.0, (False, True)), (1.0, 0.2, (True, False)), (0.8, 1.0, (True, True))]
)
def test_the_stronger_player_rests(critic: float, generator: float, may: tuple[bool, bool]) -> None:
    """By the losses handed over; both train at first."""
    objective, model = game()
    assert (objective.may_step(0), objective.may_step(1)) == (True, True)
    objective.after_step(model, "critic", [torch.tensor(critic)])
    objective.after_step(model, "generator", [torch.tensor(generator)])
    assert (objective.may_step(0), objective.may_step(1)) == may


def test_no_game_during_the_pre_training() -> None:
    """Two steps of it, then both players."""
    objective, model = game(pretraining=2)
    for _ in range(2):
        assert objective.is_pretraining()
        assert not objective.may_step(0)
        assert not objective.may_step(1)
        objective.after_step(model, "pretraining", [])
    assert not objective.is_pretraining()
    assert objective.may_step(0)


def test_the_generator_hears_its_own_output_and_no_later_noise() -> None:
    """Noise at step 5 changes nothing before it, and all after it; shown tuples take the place of its own."""
    _, model = game()
    z = torch.rand(1, 16, 2)
    other = z.clone()
    other[0, 5] += 1
    a, b = model.generator(z), model.generator(other)
    assert torch.equal(a[:, :5], b[:, :5])
    assert (a[:, 5:] != b[:, 5:]).any(2).all()
    torch.testing.assert_close(model.generator(z, shown=a), a)
    shown = a.clone()
    shown[0, 3] += 1
    c = model.generator(z, shown=shown)
    assert torch.equal(c[:, :4], a[:, :4])
    assert not torch.equal(c[:, 4], a[:, 4])


def test_the_critic_reads_both_ways() -> None:
    """A change of the last tuple moves the first judgement, and one of the first the last."""
    _, model = game()
    x = model.center + torch.randn(1, 16, 4)
    for place, judged in ((15, 0), (0, 15)):
        other = x.clone()
        other[0, place] += 1
        assert model.judge(x)[0, judged] != model.judge(other)[0, judged]


def test_the_losses_of_a_critic_that_says_one() -> None:
    """sp(-1) + sp(1), of which half is handed over; sp(-1); 0 where features are matched and all alike."""
    objective, model = game()
    torch.nn.init.zeros_(model.critic.head.weight)
    torch.nn.init.constant_(model.critic.head.bias, 1.0)
    batch = {"x": model.center.expand(3, 16, 4)}
    low, high = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
    loss = objective.critic(model, batch)
    assert loss.total.item() == pytest.approx(low + high, rel=1e-5)
    assert loss.seen.item() == pytest.approx((low + high) / 2, rel=1e-5)
    assert objective.generator(model, batch).total.item() == pytest.approx(low, rel=1e-5)
    objective.feature_matching = True
    assert objective.generator(model, batch).total.item() != pytest.approx(low, rel=1e-2)
    for parameter in model.critic.trunk.parameters():
        torch.nn.init.zeros_(parameter)
    assert objective.generator(model, batch).total.item() == 0.0


def test_numbers_are_in_the_data_s_unit() -> None:
    """A head of 1 gives center + scale; each feature needs its own."""
    _, model = game()
    torch.nn.init.zeros_(model.generator.head.weight)
    torch.nn.init.ones_(model.generator.head.bias)
    torch.testing.assert_close(model.sample(1)[0, 3], torch.tensor([1.0, 16.0, 0.75, 1.0]))
    with pytest.raises(GencoreError, match="center"):
        gencore.recipe("c-rnn-gan", center=(1.0,))
