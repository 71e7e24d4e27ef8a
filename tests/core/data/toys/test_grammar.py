"""The grammar: agreement, and its entropy against an independent sum over all texts."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from gencore.data import Source, check_batch, open_source
from gencore.data.sources.text import decode, encode
from gencore.data.toys.grammar import VOCABULARY, entropy, grammar, log_prob, sentences


def nats(sentence: str) -> float:
    return float(log_prob(encode(sentence, VOCABULARY)[None]))


def test_a_sentence_by_hand() -> None:
    """0.5 one, 0.6 x 0.3 big, 0.4 x 0.6 x 0.5 dog, 0.5 x 0.2 now, 0.5 x 0.6 eats, 0.5 meat, 0.7 for the stop."""
    expected = 0.5 * 0.18 * 0.12 * 0.1 * 0.3 * 0.5 * 0.7
    assert nats("one big dog now eats meat .") == pytest.approx(math.log(expected))
    assert nats("one dog eats meat . many") == pytest.approx(nats("one dog eats meat .") + math.log(0.5))


@pytest.mark.parametrize("wrong", ["one dogs", "many big cats never eats", "one car eats", "one dog eats fuel", "dog"])
def test_disagreement_is_impossible(wrong: str) -> None:
    assert nats(wrong) == -math.inf


def test_probabilities_of_all_texts_sum_to_one_and_give_the_entropy() -> None:
    """All 37^3 texts of three words."""
    every = torch.tensor(list(itertools.product(range(len(VOCABULARY)), repeat=3)))
    logs = log_prob(every)
    possible = logs[logs > -math.inf]
    assert float(possible.exp().sum()) == pytest.approx(1)
    assert -float((possible.exp() * possible).sum()) == pytest.approx(entropy(3))


def test_draws_have_that_entropy() -> None:
    """Within four standard errors of 3,000 texts."""
    scores = -log_prob(sentences(torch.arange(3000), seed=5))
    assert abs(float(scores.mean()) - entropy(16)) < 4 * float(scores.std()) / 3000**0.5


def test_contract() -> None:
    source = grammar(40)
    assert isinstance(source, Source)
    assert source.shape == (16, len(VOCABULARY))
    assert open_source("grammar").shape == source.shape
    batch = source.fetch(torch.tensor([3, 39, 3]))
    check_batch(batch, source)
    assert torch.equal(batch["x"].argmax(2), source.tokens[[3, 39, 3]])
    assert torch.equal(grammar(7).tokens, source.tokens[:7])
    assert not torch.equal(grammar(40, seed=1).tokens, source.tokens)
    assert not torch.equal(grammar(40, split="test").tokens, source.tokens)
    assert decode(source.tokens[0, :5], source.vocabulary) == "many buses carry fuel ."
    with pytest.raises(ValueError, match="num_examples is 0"):
        grammar(0)
    with pytest.raises(ValueError, match="length is 0"):
        grammar(5, length=0)
