"""BERT's masked language model (Devlin, Chang, Lee & Toutanova 2019, "BERT: Pre-training of Deep Bidirectional
Transformers for Language Understanding", arXiv:1810.04805).

Section 3.1, task 1: each token is chosen with probability 0.15. Of the chosen ones 80 % become [MASK], 10 % a token at
random, 10 % stay. The loss is the cross-entropy of the chosen tokens, given the whole altered text, in nats a token.
The network (appendix A, and the published code): post-norm blocks, then a layer, gelu and norm; the output shares the
embedding's matrix and adds a bias.

Deviations: small; Adam at a constant rate; texts of one segment, so no next-sentence task. Tokens are chosen one by
one, where the published code takes a fixed number of each text. [MASK] is a further token, which is never predicted;
`mask_token` names one of the vocabulary instead. `from_bert` opens published weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore_text.parts import published
from gencore_text.parts.language import SequenceConfig, SequenceModel
from gencore_text.parts.transformer import Block, BlockOptions, small_weights

SYSTEM = SystemSpec(
    name="masked-language-model",
    summary="BERT: a transformer that fills in masked tokens from both sides",
    paper=Paper(
        title="BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
        authors="Devlin, Chang, Lee & Toutanova",
        year=2019,
        arxiv="1810.04805",
    ),
    model="MaskedLanguageModel",
    recipe="masked_language_model",
    roles=("encoder",),
    claims=("compiles",),
    tiny={"width": 8, "layers": 1, "heads": 2, "batch_size": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MaskedLanguageModelConfig(SequenceConfig):
    """`layers` blocks of `width`, with `heads` attention heads. `dropout`: of embeddings, attention and sub-blocks.
    `mask_token`: the number of [MASK], None for a further one. `causal`: see the left side only (no BERT any more)."""

    width: int = 48
    layers: int = 2
    heads: int = 4
    dropout: float = 0.0
    mask_token: int | None = None
    causal: bool = False

    def __post_init__(self) -> None:
        SequenceConfig.__post_init__(self)
        self.check_sizes("width", "layers", "heads")
        self.check_heads(self.width, self.heads)
        check(0 <= self.dropout < 1, "dropout", self.dropout, "a number in [0, 1)")
        inside = self.mask_token is None or 0 <= self.mask_token < self.data_shape[1]
        check(inside, "mask_token", self.mask_token, f"none, or 0 to {self.data_shape[1] - 1}")

    @property
    def mask(self) -> int:
        """The number of [MASK]."""
        return self.data_shape[1] if self.mask_token is None else self.mask_token


class MaskedNetwork(nn.Module):
    """Tokens (N, T), [MASK] among them -> features (N, T, width)."""

    def __init__(self, config: MaskedLanguageModelConfig) -> None:
        super().__init__()
        length, size = config.data_shape
        width = config.width
        options = BlockOptions(
            width=width,
            heads=config.heads,
            causal=config.causal,
            pre_norm=False,
            gelu="none",
            eps=1e-12,
            dropout=config.dropout,
        )
        self.token, self.position = nn.Embedding(max(size, config.mask + 1), width), nn.Embedding(length, width)
        self.norm, self.dropout = nn.LayerNorm(width, eps=options.eps), nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(options) for _ in range(config.layers))
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=options.eps))
        self.bias = nn.Parameter(torch.zeros(size))
        small_weights(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) int64 -> (N, T, width)."""
        x = self.dropout(self.norm(self.token(tokens) + self.position.weight[: tokens.shape[1]]))
        for block in self.blocks:
            x = block(x)
        return x

    def predict(self, features: Tensor) -> Tensor:
        """(..., width) -> logits (..., K)."""
        return F.linear(self.head(features), self.token.weight[: len(self.bias)], self.bias)


class MaskedLanguageModel(SequenceModel):
    """Fills in masked tokens; its features are the code."""

    config_class = MaskedLanguageModelConfig
    config: MaskedLanguageModelConfig
    regions = ("network",)

    def __init__(self, config: MaskedLanguageModelConfig) -> None:
        super().__init__(config)
        self.network = MaskedNetwork(config)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, T, K) one-hot -> the features of each token, (N, T, width)."""
        return self.network(self.tokens(x))

    def logits(self, tokens: Tensor) -> Tensor:
        """tokens (N, T), [MASK] (`config.mask`) where something is to be filled in -> (N, T, K)."""
        visible = tokens.masked_fill(tokens == self.config.mask, 0)
        self.check_tokens(visible, self.config.data_shape[0])
        return self.network.predict(self.network(tokens.long()))

    def fill(self, text: str, *, mask: str = "_") -> str:
        """The text with each `mask` in it, a piece of its own, replaced by the likeliest token."""
        pieces = text.split(mask)
        written = [self.written(piece) for piece in pieces]
        hole = torch.tensor([self.config.mask], device=self.device)
        tokens = torch.cat([item for piece in written for item in (hole, piece)][1:])
        likeliest = self.logits(tokens[None])[0].argmax(1)
        return self._joined(torch.where(tokens == self.config.mask, likeliest, tokens))

    def _joined(self, tokens: Tensor) -> str:
        from gencore.data.sources.text import decode

        return decode(tokens, self.words())


def alter(tokens: Tensor, *, mask: int, size: int, share: float) -> tuple[Tensor, Tensor]:
    """tokens (N, T) -> (altered, chosen (N, T) bool), by torch's global stream: section 3.1's 80, 10 and 10 %."""
    chosen = torch.rand(tokens.shape, device=tokens.device) < share
    fate = torch.rand(tokens.shape, device=tokens.device)
    other = torch.where(fate < 0.8, mask, torch.randint_like(tokens, size))
    return torch.where(chosen & (fate < 0.9), other, tokens), chosen


class FillIn(Objective):
    """The cross-entropy of the chosen tokens.

    Logs `nats`: cross-entropy a chosen token; lower is better. `right`: share of the chosen tokens that are guessed;
    higher is better.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def filling(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"]: 0 where no token was chosen."""
        tokens = model.tokens(batch["x"])
        altered, chosen = alter(tokens, mask=model.config.mask, size=model.config.data_shape[1], share=self.share)
        logits = model.logits(altered)
        nats = F.cross_entropy(logits.movedim(2, 1), tokens, reduction="none")
        mean = (nats * chosen).sum() / chosen.sum().clamp_min(1)
        right = ((logits.argmax(2) == tokens) & chosen).sum() / chosen.sum().clamp_min(1)
        return Loss(mean, {"nats": mean.detach(), "right": right})


# BERT's names and ours of a block's layers, queries, keys and values aside.
_LAYERS = {
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "norm_1",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "norm_2",
}


def from_bert(
    weights: str | Path | Mapping[str, Tensor],
    *,
    mask_token: int = 103,
    heads: int | None = None,
    vocabulary: tuple[str, ...] = (),
) -> MaskedLanguageModel:
    """The model of BERT's model.safetensors (or of such tensors by name), with its masked head, in evaluation mode.

    Every token is of the first segment, whose vector joins the positions'. `heads`: None for heads of 64 numbers, as
    the published sizes have. Raises GencoreError for weights that lack something or have another form.
    """
    given = published.read_weights(weights, "bert.")
    embeddings = {
        kind: published.take(given, f"embeddings.{kind}_embeddings.weight", None, None)
        for kind in ("word", "position", "token_type")
    }
    size, width = embeddings["word"].shape
    layers = published.count_layers(given, "encoder.layer.")
    config = MaskedLanguageModelConfig(
        data_shape=(len(embeddings["position"]), size),
        width=width,
        layers=layers,
        heads=max(1, width // 64) if heads is None else heads,
        mask_token=mask_token,
        vocabulary=vocabulary,
    )
    found = {
        "token.weight": embeddings["word"],
        "position.weight": embeddings["position"] + embeddings["token_type"][0],
        "bias": published.take(given, "cls.predictions.bias", size),
    }
    for kind in ("weight", "bias"):
        found[f"norm.{kind}"] = published.take(given, f"embeddings.LayerNorm.{kind}", width)
        found[f"head.0.{kind}"] = published.take(given, f"cls.predictions.transform.dense.{kind}")
        found[f"head.2.{kind}"] = published.take(given, f"cls.predictions.transform.LayerNorm.{kind}", width)
        for layer in range(layers):
            stem = f"encoder.layer.{layer}"
            three = [published.take(given, f"{stem}.attention.self.{p}.{kind}") for p in ("query", "key", "value")]
            found[f"blocks.{layer}.attention.queries_keys_values.{kind}"] = torch.cat(three)
            for theirs, ours in _LAYERS.items():
                found[f"blocks.{layer}.{ours}.{kind}"] = published.take(given, f"{stem}.{theirs}.{kind}")
    model = MaskedLanguageModel(config)
    published.fill(model.network, found)
    model.system = SYSTEM.name
    return model.eval()


CONFIG = MaskedLanguageModelConfig()


def masked_language_model(
    *,
    config: MaskedLanguageModelConfig = CONFIG,
    steps: int = 2000,
    batch_size: int = 64,
    learning_rate: float = 4e-3,
    share: float = 0.15,
) -> Recipe:
    """One phase, one stage. `share`: of the tokens that are chosen, in (0, 1]."""
    check(0 < share <= 1, "share", share, "a number in (0, 1]")
    phase = Phase(name="filling", parts=("network",), optimizer=Adam(learning_rate=learning_rate))
    stage = Stage(objective=FillIn(share), phases=(phase,), steps=steps)
    return Recipe(
        name="masked-language-model",
        model=MaskedLanguageModel,
        config=config,
        stages=(stage,),
        batch_size=batch_size,
        data="grammar",
    )
