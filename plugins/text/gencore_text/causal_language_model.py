"""GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; its predecessor's report, 2018).

    h_0 = token(w) + position,    h_l = block(h_(l-1)),    p(w_(t+1) | w_1 ... w_t) = softmax(norm(h_L) token^T)
Section 2.3: layer norms at the input of each sub-block and one at the end; at the start the weights of what is added to
a shortcut are divided by sqrt(number of shortcuts). The output shares the embedding's matrix (2018, equation 2).

Deviations: small by default; Adam at a constant rate, without weight decay. `GPT2_SMALL` is the published size, of
124,439,808 parameters; `from_gpt2` opens published weights, whose last token <|endoftext|> begins a text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore.data.sources.byte_pairs import read_vocabulary
from gencore_text.parts import published
from gencore_text.parts.language import LanguageModel, SequenceConfig, maximum_likelihood
from gencore_text.parts.transformer import Block, BlockOptions, Cache, small_weights

SYSTEM = SystemSpec(
    name="causal-language-model",
    summary="GPT-2: a transformer that predicts each token from those before it",
    paper=Paper(
        title="Language Models are Unsupervised Multitask Learners",
        authors="Radford, Wu, Child, Luan, Amodei & Sutskever",
        year=2019,
    ),
    model="CausalLanguageModel",
    recipe="causal_language_model",
    roles=("sampler",),
    traits=("log-prob",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"width": 8, "layers": 1, "heads": 2, "batch_size": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CausalLanguageModelConfig(SequenceConfig):
    """`layers` blocks of `width`, with `heads` attention heads. `dropout`: of embeddings, attention and sub-blocks."""

    width: int = 48
    layers: int = 2
    heads: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        SequenceConfig.__post_init__(self)
        self.check_sizes("width", "layers", "heads")
        self.check_heads(self.width, self.heads)
        check(0 <= self.dropout < 1, "dropout", self.dropout, "a number in [0, 1)")


GPT2_SMALL = CausalLanguageModelConfig(data_shape=(1024, 50257), width=768, layers=12, heads=12, dropout=0.1)


class CausalNetwork(nn.Module):
    """Tokens (N, T) -> logits (N, T, K) of the next ones."""

    def __init__(self, config: CausalLanguageModelConfig) -> None:
        super().__init__()
        length, size = config.data_shape
        options = BlockOptions(
            width=config.width,
            heads=config.heads,
            causal=True,
            pre_norm=True,
            gelu="tanh",
            eps=1e-5,
            dropout=config.dropout,
        )
        self.token, self.position = nn.Embedding(size, config.width), nn.Embedding(length, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(options) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=options.eps)
        small_weights(self)
        for block in self.blocks:
            assert isinstance(block, Block)
            for layer in (block.attention.output, block.down):
                nn.init.normal_(layer.weight, std=0.02 / (2 * config.layers) ** 0.5)

    def forward(self, tokens: Tensor, first: int = 0, caches: list[Cache] | None = None) -> Tensor:
        """`first`: the position of the first token; with caches there is one, and those before it are in them."""
        places = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        x = self.dropout(self.token(tokens) + self.position(places))
        for number, block in enumerate(self.blocks):
            x = block(x, caches[number] if caches else None)
        return self.norm(x) @ self.token.weight.T


class CausalLanguageModel(LanguageModel):
    """The density of texts."""

    config_class = CausalLanguageModelConfig
    config: CausalLanguageModelConfig
    regions = ("network",)

    def __init__(self, config: CausalLanguageModelConfig) -> None:
        super().__init__(config)
        self.network = CausalNetwork(config)

    def logits(self, before: Tensor) -> Tensor:
        """before (N, T), T at most that of the data -> (N, T, K)."""
        return self.network(self.check_tokens(before, self.config.data_shape[0]))

    def steps(self, count: int) -> CachedSteps:
        """Keys and values are kept: a token costs one row of each product."""
        return CachedSteps(self.network)

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor], *, vocabulary: tuple[str, ...] = ()) -> CausalLanguageModel:
        """`from_gpt2`, with heads of 64 numbers."""
        return from_gpt2(tensors, vocabulary=vocabulary)

    @staticmethod
    def published_beside(folder: Path) -> dict[str, tuple[str, ...]]:
        """What of `from_published` lies beside the weights: vocab.json."""
        return {"vocabulary": read_vocabulary(folder)} if (folder / "vocab.json").exists() else {}


class CachedSteps:
    """Keeps the keys and values of all blocks."""

    def __init__(self, network: CausalNetwork) -> None:
        self.network, self.first, self.caches = network, 0, [Cache() for _ in network.blocks]

    def __call__(self, token: Tensor) -> Tensor:
        """(N,) int64 -> (N, K)."""
        logits = self.network(token[:, None], self.first, self.caches)
        self.first += 1
        return logits[:, 0]


# GPT-2's names and ours of a block's layers; its matrices are (inputs, outputs).
_LAYERS = {
    "attn.c_attn": "attention.queries_keys_values",
    "attn.c_proj": "attention.output",
    "mlp.c_fc": "up",
    "mlp.c_proj": "down",
}
_NORMS = {"ln_1": "norm_1", "ln_2": "norm_2"}


def from_gpt2(
    weights: str | Path | Mapping[str, Tensor], *, heads: int | None = None, vocabulary: tuple[str, ...] = ()
) -> CausalLanguageModel:
    """The model of GPT-2's model.safetensors (or of such tensors by name), in evaluation mode.

    `heads`: None for heads of 64 numbers, as all published sizes have. Raises GencoreError for weights that lack
    something or have another form.
    """
    given = published.read_weights(weights, "transformer.")
    size, width = published.take(given, "wte.weight", None, None).shape
    length = published.take(given, "wpe.weight", None, width).shape[0]
    layers = published.count_layers(given, "h.")
    heads = max(1, width // 64) if heads is None else heads
    config = CausalLanguageModelConfig(
        data_shape=(length, size), width=width, layers=layers, heads=heads, vocabulary=vocabulary
    )
    found = {"token.weight": given["wte.weight"], "position.weight": given["wpe.weight"]}
    for kind in ("weight", "bias"):
        found[f"norm.{kind}"] = published.take(given, f"ln_f.{kind}", width)
        for layer in range(layers):
            for theirs, ours in _NORMS.items():
                found[f"blocks.{layer}.{ours}.{kind}"] = published.take(given, f"h.{layer}.{theirs}.{kind}", width)
            for theirs, ours in _LAYERS.items():
                tensor = published.take(given, f"h.{layer}.{theirs}.{kind}")
                found[f"blocks.{layer}.{ours}.{kind}"] = tensor.T if kind == "weight" else tensor
    model = CausalLanguageModel(config)
    published.fill(model.network, found)
    model.system = SYSTEM.name
    return model.eval()


CONFIG = CausalLanguageModelConfig()


def causal_language_model(
    *,
    config: CausalLanguageModelConfig = CONFIG,
    steps: int = 1500,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    max_gradient_norm: float = 1.0,
) -> Recipe:
    """One phase, one stage."""
    return maximum_likelihood(
        "causal-language-model",
        CausalLanguageModel,
        config,
        steps=steps,
        batch_size=batch_size,
        optimizer=Adam(learning_rate=learning_rate),
        max_gradient_norm=max_gradient_norm,
    )
