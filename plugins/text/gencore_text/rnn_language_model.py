"""Recurrent language model (Mikolov et al., Interspeech 2010; Zaremba, Sutskever & Vinyals 2014, "Recurrent Neural
Network Regularization", arXiv:1409.2329).

    -(1 / T) sum_t log p(w_t | w_1 ... w_(t-1))                                                    (section 4.1)
    i, f, o, g = sigmoid, sigmoid, sigmoid, tanh of T(D(h_t of the layer below), h_(t-1))            (section 3.2)
with D the dropout: on what goes up from layer to layer, never on what goes on in time. Gradients are clipped at norm 5.

Deviations: Adam at a constant rate instead of SGD with a falling one; small; every example starts with an empty memory,
where the paper carries it from batch to batch (truncated back-propagation): `logits` takes and gives the memory for
those who read longer texts. Dropout is off by default: the default data are drawn anew faster than they are learned.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore_text.parts.language import LanguageModel, SequenceConfig, maximum_likelihood

SYSTEM = SystemSpec(
    name="rnn-language-model",
    summary="An LSTM that reads a text and predicts each next token",
    paper=Paper(
        title="Recurrent Neural Network Regularization",
        authors="Zaremba, Sutskever & Vinyals",
        year=2014,
        arxiv="1409.2329",
    ),
    model="RNNLanguageModel",
    recipe="rnn_language_model",
    roles=("sampler",),
    traits=("log-prob",),
    claims=("exact-data-parallel",),
    tiny={"width": 8, "layers": 1, "batch_size": 4},
)

Memory = tuple[Tensor, Tensor]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RNNLanguageModelConfig(SequenceConfig):
    """`width`: of the embedding and of each of `layers` LSTMs. `dropout`: the share of numbers that go up as 0."""

    width: int = 64
    layers: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        SequenceConfig.__post_init__(self)
        self.check_sizes("width", "layers")
        check(0 <= self.dropout < 1, "dropout", self.dropout, "a number in [0, 1)")


class RecurrentNetwork(nn.Module):
    """Tokens (N, T) and the memory before them -> logits (N, T, K) of the next ones, and the memory after them."""

    def __init__(self, config: RNNLanguageModelConfig) -> None:
        super().__init__()
        size, width = config.data_shape[1], config.width
        self.token = nn.Embedding(size, width)
        self.cells = nn.ModuleList(nn.LSTM(width, width, batch_first=True) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, size)

    def forward(self, tokens: Tensor, memory: list[Memory | None] | None = None) -> tuple[Tensor, list[Memory]]:
        """`memory`: one of each layer."""
        x, after = self.dropout(self.token(tokens)), []
        for cell, before in zip(self.cells, memory or [None] * len(self.cells), strict=True):
            x, state = cell(x, before)
            x = self.dropout(x)
            after.append(state)
        return self.output(x), after


class RNNLanguageModel(LanguageModel):
    """The density of texts."""

    config_class = RNNLanguageModelConfig
    config: RNNLanguageModelConfig

    def __init__(self, config: RNNLanguageModelConfig) -> None:
        super().__init__(config)
        self.network = RecurrentNetwork(config)

    def logits(self, before: Tensor) -> Tensor:
        """before (N, T) of any length -> (N, T, K), from an empty memory."""
        return self.network(self.check_tokens(before))[0]

    def steps(self, count: int) -> RecurrentSteps:
        """One LSTM step a token."""
        return RecurrentSteps(self.network)


class RecurrentSteps:
    """Keeps the memory."""

    def __init__(self, network: RecurrentNetwork) -> None:
        self.network, self.memory = network, None

    def __call__(self, token: Tensor) -> Tensor:
        """(N,) int64 -> (N, K)."""
        logits, self.memory = self.network(token[:, None], self.memory)
        return logits[:, 0]


CONFIG = RNNLanguageModelConfig()


def rnn_language_model(
    *,
    config: RNNLanguageModelConfig = CONFIG,
    steps: int = 1500,
    batch_size: int = 32,
    learning_rate: float = 4e-3,
    max_gradient_norm: float = 5.0,
) -> Recipe:
    """One phase, one stage."""
    return maximum_likelihood(
        "rnn-language-model",
        RNNLanguageModel,
        config,
        steps=steps,
        batch_size=batch_size,
        optimizer=Adam(learning_rate=learning_rate),
        max_gradient_norm=max_gradient_norm,
    )
