"""CS-GAN: the policy gradient against all sentences of a two-token toy, roll-outs, and the cipher."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.conditions import Tokens
from gencore.data.toys.cipher import cipher, translate
from gencore.errors import GencoreError
from gencore_text.cs_gan import CSGAN, Translation, at_random, rewards

TWO = {"data_shape": (2, 2), "condition": Tokens(length=2, words=("a",)), "width": 4}


def random_model(**arguments: Any) -> Any:
    """Weights large enough for words and judgements to differ."""
    with torch.random.fork_rng():
        torch.manual_seed(1)  # of 7 seeds 4 make critics so sure that no source moves them
        model: Any = gencore.create("cs-gan", **arguments)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.7 * torch.randn(parameter.shape, generator=generator))
    return model


def exact_value(model: Any, source: Tensor) -> Tensor:
    """E D(x, y) over all translations of each source, the mean over sources."""
    every = torch.tensor(list(itertools.product(range(2), repeat=2)))
    value = torch.zeros(())
    for row in source:
        sources = row.expand(4, -1)
        belief = model.judge(model.one_hot(every), condition=sources).sigmoid().detach()
        value = value + (belief * (-model.nats(every, sources).sum(1)).exp()).sum()
    return value / len(source)


@pytest.mark.parametrize(("rollouts", "baseline"), [(1, 0.0), (3, 0.5)])
def test_policy_gradient_is_unbiased(rollouts: int, baseline: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean over 300 batches of 32 is the exact gradient of E D, within 4 standard errors along 6 directions."""
    model = random_model(**TWO)
    logits = torch.tensor([[3.0, -2.0], [-1.0, 1.0]])

    def judge(x: Tensor, *, condition: Tensor) -> Tensor:
        first, second = x.argmax(2).T
        return logits[first, second] * (1 - 2 * condition[:, 0])

    monkeypatch.setattr(model, "judge", judge)
    sources = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]])
    parameters = list(model.generator.parameters())
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(exact_value(model, sources), parameters)])
    x, given = model.one_hot(torch.zeros(32, 2, dtype=torch.int64)), Translation(rollouts, baseline)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        directions = torch.cat([exact[None], torch.randn(5, len(exact))])
        directions /= directions.norm(dim=1, keepdim=True)
        found = []
        for _ in range(300):
            loss = given.policy(model, {"x": x, "tokens": sources.repeat(8, 1)}).total
            gradient = torch.cat([g.flatten() for g in torch.autograd.grad(-loss, parameters)])
            found.append(directions @ gradient)
    projected = torch.stack(found)
    error = projected.std(0) / 300**0.5
    assert ((projected.mean(0) - directions @ exact).abs() < 4 * error).all()
    assert (directions @ exact)[0] > 10 * error[0]


def test_rewards_are_of_roll_outs_that_keep_their_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """The critic believes in a sentence by how many words are as given: R_t is t / T where roll-outs never agree."""
    model = random_model(data_shape=(5, 3), width=4)
    tokens = torch.randint(3, (4, 5), generator=torch.Generator().manual_seed(0))
    source = torch.zeros(4, 9, dtype=torch.int64)

    def judge(x: Tensor, *, condition: Tensor) -> Tensor:
        share = (x.argmax(2) == tokens.repeat(len(x) // 4, 1)).float().mean(1)
        return share.logit(1e-6)

    monkeypatch.setattr(model, "judge", judge)
    reward = rewards(model, source, tokens, 200)
    assert (reward[:, :-1] >= torch.tensor([0.2, 0.4, 0.6, 0.8]) - 1e-3).all()
    assert (reward[:, 0] < 0.9).any()
    torch.testing.assert_close(reward[:, -1], torch.ones(4), atol=1e-3, rtol=0)


def test_last_reward_is_the_critics_belief_and_the_source_matters() -> None:
    model = random_model()
    source, tokens = cipher(6).further["tokens"], cipher(6).further["target"]
    with torch.no_grad():
        belief = model.judge(model.one_hot(tokens), condition=source).sigmoid()
        torch.testing.assert_close(rewards(model, source, tokens, 2)[:, -1], belief)
        other = model.judge(model.one_hot(tokens), condition=source.roll(1, 0)).sigmoid()
    assert (belief - other).abs().max() > 1e-3


def test_sampling_follows_the_density() -> None:
    """Shares of the four sentences against exp(-nats), and greedy takes the likeliest word."""
    model = random_model(**TWO)
    source = torch.tensor([[1, 0]]).repeat(8000, 1)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = model.translations(source, at_random)
        every = torch.tensor(list(itertools.product(range(2), repeat=2)))
        expected = (-model.nats(every, source[:4]).sum(1)).exp()
    share = (drawn @ torch.tensor([2, 1])).bincount(minlength=4) / 8000
    assert expected.sum().item() == pytest.approx(1, abs=1e-5)
    assert (share - expected).abs().max() < 4 * 0.5 / 8000**0.5
    x = model.sample(2, condition=torch.tensor([[1, 0], [0, 1]]), sampler="ancestral", seed=1)
    assert x.shape == (2, 2, 2)
    assert torch.equal(x, model.sample(2, condition=torch.tensor([[1, 0], [0, 1]]), sampler="ancestral", seed=1))
    greedy = model.sample(1, condition=torch.tensor([1, 0]), sampler="ancestral", greedy=True).argmax(2)
    first = 0 if expected[:2].sum() > expected[2:].sum() else 1
    assert greedy[0, 0] == first


def test_policy_leaves_the_critic_alone_and_falls_with_the_baseline() -> None:
    """(R - b) nats: two baselines differ by (b' - b) times the nats of the same draw."""
    model = random_model()
    batch = {"x": cipher(5).x, "tokens": cipher(5).further["tokens"]}
    losses = []
    for baseline in (0.2, 0.7):
        torch.manual_seed(0)
        losses.append(Translation(2, baseline).policy(model, batch).total)
    torch.manual_seed(0)
    nats = model.nats(model.translations(batch["tokens"], at_random), batch["tokens"]).sum(1).mean()
    torch.testing.assert_close(losses[0] - losses[1], 0.5 * nats, rtol=1e-4, atol=1e-4)
    losses[0].backward()
    assert all(p.grad is None for p in model.critic.parameters())
    assert all(p.grad is not None for p in model.generator.parameters())


def test_critic_loss_by_hand_and_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits 1 on the true ones, -2 on the drawn ones: log(1 + e^-1) + log(1 + e^-2)."""
    model = random_model()
    x, source = cipher(5).x, cipher(5).further["tokens"]
    monkeypatch.setattr(model, "judge", lambda y, condition: torch.full((5,), 1.0 if y is x else -2.0))
    loss = Translation(2, 0.5).critic(model, {"x": x, "tokens": source}).total.item()
    assert loss == pytest.approx(math.log1p(math.exp(-1)) + math.log1p(math.exp(-2)))
    for name, value in (("rollouts", 0), ("baseline", 1.0), ("width", 3)):
        with pytest.raises(GencoreError, match=name):
            gencore.recipe("cs-gan", **{name: value})
    with pytest.raises(GencoreError, match="expected a sentence|give one"):
        model.sample(1, sampler="ancestral")
    assert [phase.name for phase in gencore.recipe("cs-gan").stages[2].phases] == ["critic", "policy", "likelihood"]


class Knowing(CSGAN):
    """Its critic believes in a translation by its right words."""

    def judge(self, x: torch.Tensor, *, condition: torch.Tensor | None = None) -> torch.Tensor:
        """6 (the share of right words - 3/4), (N,)."""
        assert condition is not None
        return 6 * ((x.argmax(2) == translate(condition)).float().mean(1) - 0.75)


class Believing(CSGAN):
    """Its critic believes in every translation alike."""

    def judge(self, x: torch.Tensor, *, condition: torch.Tensor | None = None) -> torch.Tensor:
        """1 for all, (N,)."""
        return x.new_ones(len(x))


@pytest.mark.behaviour
def test_a_critic_that_knows_teaches_the_translator_by_its_belief_alone(measured: Any) -> None:
    """80 steps of likelihood, then 40 of policy gradient without teacher forcing, with a critic that stands still. The
    share of held-out sentences that are translated rightly where words are drawn: 0.502; 0.002 where the belief is the
    same for all. With a critic that is trained there is no gain over likelihood to be seen in a short training, and
    some seeds lose the translator."""
    test, right = cipher(400, split="test"), []
    for kind in (Knowing, Believing):
        recipe = gencore.recipe(
            "cs-gan", steps=80, policy_steps=40, rollouts=2, policy_learning_rate=2e-3, teacher_forcing=False
        )
        first, _, game = recipe.stages
        game = dataclasses.replace(game, phases=game.phases[1:])
        recipe = dataclasses.replace(recipe, model=kind, stages=(first, game))
        model: Any = gencore.Trainer(recipe, cipher(5000), seed=0, cpu=True).fit().eval()
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(1)
            drawn = model.translations(test.further["tokens"], at_random)
        right.append((drawn == test.further["target"]).all(1).float().mean().item())
    measured(
        "cs-gan",
        "sentences drawn that are right, after policy gradient on a known belief",
        figure=right[0],
        twin=right[1],
        bar=0.3,
        better="higher",
    )
