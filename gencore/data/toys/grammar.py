"""Sentences of a small language whose entropy is known: nouns and verbs agree over any number of words between them.

    sentence: determiner(number), adjectives, noun(number, kind), adverbs, verb(number, kind), object(kind), "." or and

After each adjective another follows with probability MORE_ADJECTIVES, after a noun and each adverb another adverb with
MORE_ADVERBS: so no window of fixed size tells number and kind. What comes next depends on the words so far through a
state that they determine, and so the probability of every text is a product, and its entropy a sum (Shannon 1948, "A
Mathematical Theory of Communication", section 7). An example is the first `length` tokens of such a text.

key   shape, dtype
x     (N, length, 37) float32 in {0, 1}, one-hot over VOCABULARY
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from gencore.data.sequences import Sequences
from gencore.data.toys import draws
from gencore.data.toys.rendered import check_size, first_indices

DETERMINERS = ("one", "many")
ADJECTIVES = {"old": 0.4, "big": 0.3, "red": 0.2, "small": 0.1}
ADVERBS = {"often": 0.5, "never": 0.3, "now": 0.2}
KINDS = {"animal": 0.6, "machine": 0.4}
NOUNS = {
    ("animal", "one"): {"dog": 0.5, "cat": 0.3, "bird": 0.2},
    ("animal", "many"): {"dogs": 0.5, "cats": 0.3, "birds": 0.2},
    ("machine", "one"): {"car": 0.5, "bus": 0.3, "train": 0.2},
    ("machine", "many"): {"cars": 0.5, "buses": 0.3, "trains": 0.2},
}
VERBS = {
    ("animal", "one"): {"eats": 0.6, "finds": 0.4},
    ("animal", "many"): {"eat": 0.6, "find": 0.4},
    ("machine", "one"): {"burns": 0.6, "carries": 0.4},
    ("machine", "many"): {"burn": 0.6, "carry": 0.4},
}
OBJECTS = {"animal": {"meat": 0.5, "grass": 0.3, "bread": 0.2}, "machine": {"fuel": 0.5, "coal": 0.3, "wood": 0.2}}
ENDS = {".": 0.7, "and": 0.3}
MORE_ADJECTIVES, MORE_ADVERBS = 0.6, 0.5

State = tuple[str, ...]
START: State = ("start",)


def following(state: State) -> list[tuple[str, float, State]]:
    """(word, its probability, the state after it) of all words that may come next."""
    place, *known = state
    if place == "start":
        return [(word, 0.5, ("determined", word)) for word in DETERMINERS]
    if place == "determined":
        (number,) = known
        adjectives = [(word, MORE_ADJECTIVES * p, state) for word, p in ADJECTIVES.items()]
        nouns = [
            (word, (1 - MORE_ADJECTIVES) * share * p, ("named", number, kind))
            for kind, share in KINDS.items()
            for word, p in NOUNS[kind, number].items()
        ]
        return adjectives + nouns
    if place == "named":
        number, kind = known
        adverbs = [(word, MORE_ADVERBS * p, state) for word, p in ADVERBS.items()]
        return adverbs + [(word, (1 - MORE_ADVERBS) * p, ("done", kind)) for word, p in VERBS[kind, number].items()]
    if place == "done":
        return [(word, p, ("said",)) for word, p in OBJECTS[known[0]].items()]
    return [(word, p, START) for word, p in ENDS.items()]


class Automaton(NamedTuple):
    """State 0 is the start of a sentence."""

    words: tuple[str, ...]
    probability: Tensor
    """(states, words) float64: of the next word."""
    after: Tensor
    """(states, words) int64: the state after it; 0 where it cannot come."""


@functools.cache
def automaton() -> Automaton:
    """The language as tables."""
    states: list[State] = [START]
    words: list[str] = []
    arrows = []
    for state in states:  # grows meanwhile
        for word, probability, after in following(state):
            states += [after] if after not in states else []
            words += [word] if word not in words else []
            arrows.append((state, word, probability, after))
    words = [*(word for word in words if word != "."), "."]
    table, to = torch.zeros(len(states), len(words), dtype=torch.float64), torch.zeros(len(states), len(words)).long()
    for state, word, probability, after in arrows:
        place = states.index(state), words.index(word)
        table[place], to[place] = probability, states.index(after)
    return Automaton(tuple(words), table, to)


VOCABULARY = automaton().words


def sentences(index: Tensor, *, length: int = 16, seed: int = 0) -> Tensor:
    """The texts of `index`, (N,) int64: (N, length) int64, numbers in VOCABULARY."""
    _, probability, after = automaton()
    uniform = draws.uniforms(seed, index, 0, length).double()
    state, tokens = torch.zeros_like(index), torch.empty(len(index), length, dtype=torch.int64)
    sums = probability.cumsum(1)
    sums = sums / sums[:, -1:]
    for place in range(length):
        tokens[:, place] = torch.searchsorted(sums[state], uniform[:, place, None].contiguous(), right=True)[:, 0]
        state = after[state, tokens[:, place]]
    return tokens


def log_prob(tokens: Tensor) -> Tensor:
    """log p of texts (N, length) int64, (N,) float64, nats; -infinity for what the grammar does not allow."""
    _, probability, after = automaton()
    state, total = tokens.new_zeros(len(tokens)), torch.zeros(len(tokens), dtype=torch.float64)
    for word in tokens.unbind(1):
        total = total + probability[state, word].log()
        state = after[state, word]
    return total


def entropy(length: int) -> float:
    """H of the first `length` tokens, nats: the sum over the places of sum_state p(state) H(next | state)."""
    _, probability, after = automaton()
    moves = torch.zeros(len(after), len(after), dtype=torch.float64).scatter_add_(1, after, probability)
    each, total = torch.special.entr(probability).sum(1), 0.0
    state = torch.zeros(len(after), dtype=torch.float64)
    state[0] = 1
    for _ in range(length):
        total += float(state @ each)
        state = state @ moves
    return total


def grammar(num_examples: int = 5000, *, length: int = 16, seed: int = 0, split: str = "train") -> Sequences:
    """Texts of `length` tokens, at least 1. Raises GencoreError for bad values."""
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    check_size(length, 1, "length")
    return Sequences(
        tokens=sentences(index, length=length, seed=seed), vocabulary=VOCABULARY, name=f"sentences ({split})"
    )
