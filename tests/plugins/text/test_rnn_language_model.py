"""The recurrent language model: its memory, its dropout, and the grammar's entropy. See parts/test_language.py."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gencore.data.toys.grammar import log_prob
from tests.plugins.text.language_models import best_ngram, gap, small, trained


def test_memory_carries_over() -> None:
    """Two halves of a text, the memory handed on, are the whole."""
    network = small("rnn-language-model").network
    tokens = torch.randint(37, (2, 16), generator=torch.Generator().manual_seed(3))
    first, memory = network(tokens[:, :7])
    second, _ = network(tokens[:, 7:], memory)
    torch.testing.assert_close(torch.cat([first, second], 1), network(tokens)[0])


def test_dropout_is_on_the_way_up_only() -> None:
    """In training a share of what goes up is 0, and the memory of the first layer stays a function of its inputs."""
    model = small("rnn-language-model", dropout=0.5).train()
    tokens = torch.zeros(1, 16, dtype=torch.int64)
    assert not torch.equal(model.logits(tokens), model.logits(tokens))
    model.network.dropout.eval()
    torch.testing.assert_close(model.logits(tokens), model.logits(tokens))


@pytest.mark.behaviour
def test_reaches_the_entropy_of_the_grammar(measured: Any) -> None:
    """300 steps, gaps in nats a token at seeds 0, 1, 2: untrained 2.15, 2.18, 2.18; page 0.018, 0.015, 0.018;
    shown each token alone 0.151, 0.150, 0.154. Witten-Bell n-grams of orders 2 ... 5 on the same data: 0.140,
    0.074, 0.064, 0.121. Share of the page's samples that the grammar allows: 0.92, 0.92, 0.89.
    """
    assert best_ngram() > 0.04, "no n-gram meets the bar"
    model = trained("rnn-language-model", 0)
    samples = model.sample(200, seed=0, batch_size=200).argmax(2)
    assert (log_prob(samples) > -math.inf).float().mean() > 0.75
    measured(
        "rnn-language-model",
        "nats a token above the entropy of a grammar with agreement over any distance",
        figure=gap(model),
        twin=gap(trained("rnn-language-model", 0, forgetful=True)),
        bar=0.04,
        better="lower",
    )
