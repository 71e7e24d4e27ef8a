"""C-RNN-GAN: who rests, what each step sees, pre-training before the game."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

import gencore
from gencore.data.toys.tones import tones
from gencore.errors import GencoreError
from gencore.evaluation import frechet_distance
from gencore_gan.sequences.c_rnn_gan import CRNNGAN, FreezingGame, rests

NOTES = tones(2000).x.flatten(0, 1)


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
    objective.after_step(model, "critic", [torch.tensor([critic, critic, generator])])
    assert (objective.may_step(0), objective.may_step(1)) == may


def test_a_critic_that_rests_wakes_when_it_is_fooled() -> None:
    """The generator's steps tell what the critic now pays for their sequences; what it pays for real ones stays."""
    objective, model = game()
    objective.after_step(model, "critic", [torch.tensor([0.2, 0.2, 1.0])])
    assert not objective.may_step(0)
    objective.after_step(model, "generator", [torch.tensor([0.0, 1.0, 0.5])])
    assert objective.losses.tolist() == pytest.approx([0.2, 1.0, 0.5])
    assert objective.may_step(0)


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
    """sp(-1) + sp(1), handed over beside the generator's sp(-1); sp(-1); 0 where features are matched and all alike."""
    objective, model = game()
    torch.nn.init.zeros_(model.critic.head.weight)
    torch.nn.init.constant_(model.critic.head.bias, 1.0)
    batch = {"x": model.center.expand(3, 16, 4)}
    low, high = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
    loss = objective.critic(model, batch)
    assert loss.total.item() == pytest.approx(low + high, rel=1e-5)
    assert loss.seen.tolist() == pytest.approx([low, high, low], rel=1e-5)
    assert objective.generator(model, batch).total.item() == pytest.approx(low, rel=1e-5)
    assert objective.generator(model, batch).seen.tolist() == pytest.approx([0, high, low], rel=1e-5)
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


class LooseNotes(CRNNGAN):
    """Draws notes of the melodies, each by itself: nothing is wrong with any of them but what goes before."""

    def generate(self, z: torch.Tensor, *, condition: torch.Tensor | None = None) -> torch.Tensor:
        """z (N, steps, latent_dim) in [0, 1) -> notes (N, steps, 4)."""
        return NOTES[(z[..., 0] * len(NOTES)).long()]


class NoteByNote(LooseNotes):
    """The critic sees each note alone."""

    def judge(self, x: torch.Tensor, *, condition: torch.Tensor | None = None) -> torch.Tensor:
        """(N, steps, 4) -> (N, steps)."""
        return super().judge(x.flatten(0, 1)[:, None]).view(x.shape[:2])


@pytest.mark.behaviour
def test_the_critic_hears_melodies_and_not_notes(measured: Any) -> None:
    """200 steps of the critic against a generator of loose notes. The share of pairs of a held-out melody and loose
    notes that the critic ranks rightly, by its mean logit; the twin's critic hears one note at a time: 1.000 and
    0.454. Melodies of a generator that learns in the game are not good enough to be judged after a short training."""
    source, real, ranked = tones(4000), tones(500, split="test").x, []
    for kind in (LooseNotes, NoteByNote):
        recipe = gencore.recipe("c-rnn-gan", steps=200, pretraining_steps=0, freeze=0.0, critic_rate=2e-3)
        stage = recipe.stages[0]
        alone = dataclasses.replace(stage, phases=tuple(phase for phase in stage.phases if phase.name == "critic"))
        recipe = dataclasses.replace(recipe, model=kind, stages=(alone,))
        model: Any = gencore.Trainer(recipe, source, seed=0, cpu=True).fit().eval()
        with torch.no_grad():
            melodies, loose = (model.judge(x).mean(1) for x in (real, model.sample(500, seed=1)))
        ranked.append((melodies > loose).float().mean().item())
    measured(
        "c-rnn-gan",
        "melodies that the critic ranks above loose notes of the same kinds",
        figure=ranked[0],
        twin=ranked[1],
        bar=0.8,
        better="higher",
    )


def successions(model: Any, x: torch.Tensor) -> torch.Tensor:
    """Each note of (N, steps, 4) and the one before it, as the networks see them, (N (steps - 1), 8)."""
    seen = model.normalised(x)
    return torch.cat([seen[:, 1:], seen[:, :-1]], 2).flatten(0, 1)


@pytest.mark.behaviour
def test_the_default_sampler_plays_notes_that_follow_one_another() -> None:
    """After the default training, seeds 0 and 1: the Frechet distance of two notes in a row is 0.42 and 0.63 of that of
    random weights; that of whole melodies is not nearer."""
    recipe = gencore.recipe("c-rnn-gan")
    model: Any = gencore.Trainer(recipe, tones(4000), seed=0, cpu=True).fit().eval()
    torch.manual_seed(0)
    untrained: Any = CRNNGAN(recipe.config)  # type: ignore[arg-type]
    real = successions(model, tones(1500).x)
    here, there = (
        float(frechet_distance(successions(each, each.sample(400, seed=0, batch_size=400)), real))
        for each in (model, untrained)
    )
    assert here < 0.7 * there
