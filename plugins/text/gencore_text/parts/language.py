"""What all models over sequences of tokens share: p(w_1 ... w_T) = prod_t p(w_t | w_1 ... w_(t-1)).

The last token of the vocabulary stands before the first word, as GPT-2's <|endoftext|> does.

Legend: N examples, T their length, K size of the vocabulary.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from gencore import Loss, Model, ModelConfig, Objective, Phase, Recipe, Sampler, Stage
from gencore.config import check
from gencore.data.sources.text import decode, encode
from gencore.errors import GencoreError
from gencore.nn.likelihood import PROBABILITY, Scale
from gencore_text.parts.ancestral import AncestralSampler


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SequenceConfig(ModelConfig):
    """`data_shape`: (tokens of an example, size of the vocabulary). `vocabulary`: the tokens as strings, which say how
    text is written in them (gencore.data.sources.text); empty where nobody needs to read them."""

    data_shape: tuple[int, int] = (16, 37)
    vocabulary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        length, size = self.data_shape
        check(length >= 1 and size >= 2, "data_shape", self.data_shape, "(tokens, size of the vocabulary), at least 2")
        different = len(set(self.vocabulary)) == len(self.vocabulary)
        fits = different and len(self.vocabulary) in (0, size)
        check(fits, "vocabulary", self.vocabulary[:5], f"none, or {size} different strings, as data_shape says")

    def check_sizes(self, *names: str) -> None:
        """Raise GencoreError unless these fields are at least 1."""
        for name in names:
            check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")

    def check_heads(self, width: int, heads: int) -> None:
        """Raise GencoreError unless attention's heads share the width evenly."""
        check(width % heads == 0, "heads", heads, f"a divisor of the width, {width}")


class Steps(Protocol):
    """A language model token by token."""

    def __call__(self, token: Tensor) -> Tensor:
        """The next token (N,) int64 -> the logits of the one after it, (N, K)."""
        ...


class SequenceModel(Model):
    """A model over sequences of tokens."""

    config_class = SequenceConfig
    config: SequenceConfig

    def tokens(self, x: Tensor) -> Tensor:
        """x (N, T, K) one-hot -> (N, T) int64. Raises GencoreError for another shape, and rows that are not one-hot."""
        if x.ndim != 3 or tuple(x.shape[1:]) != self.config.data_shape:
            raise GencoreError(f"x is {tuple(x.shape)}; expected (N, {', '.join(map(str, self.config.data_shape))}).")
        tokens = x.argmax(2)
        if not ((x.amax(2) == 1) & (x.count_nonzero(2) == 1)).all():
            raise GencoreError("x is not one-hot over the vocabulary: each token is one 1 among zeros.")
        return tokens

    def one_hot(self, tokens: Tensor) -> Tensor:
        """(N, T) int64 -> (N, T, K) float32, as the data are."""
        return F.one_hot(tokens, self.config.data_shape[1]).float()

    def check_tokens(self, tokens: Tensor, longest: int | None = None) -> Tensor:
        """`tokens`, if they are (N, T) integers of the vocabulary, T at most `longest`. Raises GencoreError."""
        size = self.config.data_shape[1]
        if tokens.ndim != 2 or tokens.is_floating_point() or not tokens.numel():
            raise GencoreError(f"the tokens are {tuple(tokens.shape)} {tokens.dtype}; expected (N, T) integers.")
        if longest is not None and tokens.shape[1] > longest:
            raise GencoreError(f"the tokens are {tokens.shape[1]} long; expected at most {longest} (data_shape).")
        if int(tokens.min()) < 0 or int(tokens.max()) >= size:
            raise GencoreError(f"there are tokens outside 0 ... {size - 1}, which is what the vocabulary has.")
        return tokens.long()

    def words(self) -> tuple[str, ...]:
        """The vocabulary. Raises GencoreError where the config has none."""
        if not self.config.vocabulary:
            raise GencoreError("This model's config has no vocabulary: it knows its tokens by number only.")
        return self.config.vocabulary

    def text(self, x: Tensor) -> list[str]:
        """What examples x (N, T, K) say. Raises GencoreError where the config has no vocabulary."""
        return [decode(row, self.words()) for row in self.tokens(x)]

    def written(self, text: str) -> Tensor:
        """A text as tokens, (T,) int64. Raises GencoreError for what the vocabulary does not have."""
        return encode(text, self.words()).to(self.device)


class LanguageModel(SequenceModel):
    """A density of sequences. A subclass defines `logits` and `steps`."""

    def logits(self, before: Tensor) -> Tensor:
        """before (N, T) int64 -> logits (N, T, K) of the token after each, given it and those before it."""
        raise NotImplementedError

    def steps(self, count: int) -> Steps:
        """`count` sequences, token by token: after the tokens before_1 ... before_t, logits(before)[:, t]."""
        raise NotImplementedError

    @property
    def likelihood_scale(self) -> Scale:
        """A probability, of tokens."""
        return PROBABILITY

    def nats(self, tokens: Tensor) -> Tensor:
        """tokens (N, T) int64 -> -log p(w_t | w_1 ... w_(t-1)) of each, (N, T)."""
        before = torch.cat([torch.full_like(tokens[:, :1], self.config.data_shape[1] - 1), tokens[:, :-1]], 1)
        return F.cross_entropy(self.logits(before).movedim(2, 1), tokens, reduction="none")

    def log_prob(self, x: Tensor) -> Tensor:
        """x (N, T, K) one-hot -> log p(x), (N,) nats."""
        return -self.nats(self.tokens(x)).sum(1)

    def default_sampler(self) -> Sampler:
        """Token by token."""
        return AncestralSampler()


class NextToken(Objective):
    """Minimise -(1 / T) sum_t log p(w_t | w_1 ... w_(t-1)), nats a token; perplexity is its exponential.

    Logs `perplexity`: among how many tokens, equally likely, the next would be as hard to guess; lower is better.
    `bits_per_token`: its logarithm to base 2; lower is better.
    """

    def likelihood(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"]."""
        nats = model.nats(model.tokens(batch["x"])).mean()
        seen = nats.detach()
        return Loss(nats, {"perplexity": seen.exp(), "bits_per_token": seen / math.log(2)})


def maximum_likelihood(
    name: str,
    model: type[Model],
    config: SequenceConfig,
    *,
    steps: int,
    batch_size: int,
    optimizer: Any,
    max_gradient_norm: float,
) -> Recipe:
    """One stage of one phase that trains the part `network`, on the grammar where the user names no data."""
    check(max_gradient_norm > 0, "max_gradient_norm", max_gradient_norm, "a positive number")
    phase = Phase(name="likelihood", parts=("network",), optimizer=optimizer, max_gradient_norm=max_gradient_norm)
    stage = Stage(objective=NextToken(), phases=(phase,), steps=steps)
    return Recipe(name=name, model=model, config=config, stages=(stage,), batch_size=batch_size, data="grammar")
