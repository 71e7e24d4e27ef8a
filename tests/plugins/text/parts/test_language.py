"""The contract of the models of the next token: exact densities, causality, caches, sampling."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.data.toys.grammar import VOCABULARY
from gencore.errors import GencoreError
from tests.plugins.text.language_models import small

each = pytest.mark.parametrize("system", ["rnn-language-model", "causal-language-model"])


@each
def test_probabilities_sum_to_one(system: str) -> None:
    """Over all 4^3 texts; their logs are -nats summed, and the first token depends on nothing."""
    model = small(system, data_shape=(3, 4)).double()
    every = torch.tensor(list(itertools.product(range(4), repeat=3)))
    logs = model.log_prob(model.one_hot(every).double()).detach()
    assert float(logs.exp().sum()) == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(-model.nats(every).sum(1), logs)
    assert float(model.nats(every).detach()[:, 0].view(4, 16).std(1).max()) < 1e-9


@each
def test_logits_see_the_past_and_never_the_future(system: str) -> None:
    """The Jacobian towards the embedded tokens: zero to the bit after each place, not zero before, training too."""
    model = small(system, data_shape=(6, 5))
    for mode in (True, False):
        model.train(mode)
        vectors: list[Tensor] = []

        def keep(module: Any, inputs: Any, output: Tensor, vectors: list[Tensor] = vectors) -> Tensor:
            vectors.append(output.detach().requires_grad_())
            return vectors[-1]

        handle = model.network.token.register_forward_hook(keep)
        logits = model.logits(torch.tensor([[1, 4, 0, 2, 3, 1]]))
        handle.remove()
        for place in range(6):
            (slope,) = torch.autograd.grad(logits[0, place].square().sum(), vectors[0], retain_graph=True)
            assert torch.equal(slope[0, place + 1 :], torch.zeros(5 - place, 8))
            assert (slope[0, : place + 1].abs().sum(1) > 0).all()


@each
def test_step_by_step_equals_the_whole(system: str) -> None:
    model = small(system, data_shape=(12, 9))
    tokens = torch.randint(9, (3, 12), generator=torch.Generator().manual_seed(1))
    step = model.steps(3)
    with torch.no_grad():
        torch.testing.assert_close(
            torch.stack([step(token) for token in tokens.unbind(1)], 1), model.logits(tokens), atol=1e-5, rtol=1e-5
        )


@each
def test_cached_samples_are_those_of_the_naive_loop(system: str) -> None:
    """Drawn, likeliest, and under the filters."""
    model = small(system, data_shape=(10, 7))
    for options in ({}, {"temperature": 0.0}, {"top_k": 3, "temperature": 0.8}, {"top_p": 0.7}):
        cached, naive = (model.sample(6, seed=4, cached=cached, **options) for cached in (True, False))
        assert torch.equal(cached, naive)


@each
def test_samples_score_the_models_own_entropy(system: str) -> None:
    """Mean -log p of 2,000 samples within four standard errors of the sum over all 5^3 texts."""
    model = small(system, data_shape=(3, 5))
    every = torch.tensor(list(itertools.product(range(5), repeat=3)))
    with torch.no_grad():
        logs = model.log_prob(model.one_hot(every)).double()
        scores = -model.log_prob(model.sample(2000, seed=1, batch_size=2000)).double()
    truth = float(-(logs.exp() * logs).sum())
    assert abs(float(scores.mean()) - truth) < 4 * float(scores.std()) / 2000**0.5


@each
def test_prompt_and_text(system: str) -> None:
    model = small(system, vocabulary=VOCABULARY)
    prompted = model.text(model.sample(3, seed=2, prompt="many old dogs"))
    assert all(text.startswith("many old dogs ") for text in prompted)
    assert len(set(prompted)) == 3
    for prompt, message in (("many old dog cows", "'cows'"), ("many " * 17, "17 tokens; expected at most 16")):
        with pytest.raises(GencoreError, match=message):
            model.sample(1, prompt=prompt)
    with pytest.raises(GencoreError, match="no vocabulary"):
        small(system).text(model.sample(1))


@each
def test_refusals(system: str) -> None:
    model = small(system, data_shape=(4, 5))
    x = model.one_hot(torch.zeros(2, 4, dtype=torch.int64))
    for wrong, message in ((x[:, :3], r"expected \(N, 4, 5\)"), (x * 2, "not one-hot"), (x * 0, "not one-hot")):
        with pytest.raises(GencoreError, match=message):
            model.log_prob(wrong)
    with pytest.raises(GencoreError, match=r"outside 0 \.\.\. 4"):
        model.logits(torch.tensor([[5]]))
    with pytest.raises(GencoreError, match="vocabulary"):
        gencore.create(system, data_shape=(4, 3), vocabulary=("a", "b", "b"))
    for option in ({"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(GencoreError, match=next(iter(option))):
            model.sample(1, **option)


def test_objective_by_hand() -> None:
    """Logits of 0 cost log K a token, a perplexity of K."""
    recipe: Any = gencore.recipe("rnn-language-model", data_shape=(4, 8))
    model = recipe.model(recipe.config)
    for parameter in model.network.output.parameters():
        torch.nn.init.zeros_(parameter)
    loss = recipe.stages[0].objective.likelihood(model, {"x": model.one_hot(torch.randint(8, (2, 4)))})
    assert loss.total.item() == pytest.approx(math.log(8))
    assert loss.metrics["perplexity"].item() == pytest.approx(8, rel=1e-5)
    assert loss.metrics["bits_per_token"].item() == pytest.approx(3)
