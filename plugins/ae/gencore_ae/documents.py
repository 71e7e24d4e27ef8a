"""Document autoencoder: word probabilities to 2-D codes (Hinton & Salakhutdinov 2006, "Reducing the dimensionality of
data with neural networks", Science 313, figure 4; against latent semantic analysis, Deerwester et al. 1990).

    p_w = count_w / length,    min -E sum_w p_w log softmax(g(f(p)))_w        in nats a word; perplexity is its exp
The output is one distribution over the words, not as many Bernoullis.

Deviations: no pre-training by Boltzmann machines; a smaller network (the paper's hidden layers are 500, 250, 125);
words left out at random and noise on the code, without which a small corpus is learned by heart. The bundled corpus
(docstrings.NOTICE.txt) is where the paper has Reuters' newswire.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import resources
from typing import Any

import torch
from torch import Tensor, nn

from gencore import Adam, Loss, ModelConfig, Objective, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore.errors import GencoreError
from gencore_ae.parts.networks import Autoencoder, check_shape, layers
from gencore_ae.parts.reconstruction import cosine, one_phase

SYSTEM = SystemSpec(
    name="document-autoencoder",
    summary="Word probabilities of documents to codes of two numbers",
    paper=Paper(
        title="Reducing the Dimensionality of Data with Neural Networks",
        authors="Hinton & Salakhutdinov",
        year=2006,
    ),
    model="DocumentAutoencoder",
    recipe="document_autoencoder",
    roles=("encoder", "generator"),
    traits=("reconstruct",),
    claims=("compiles",),
    tiny={"hidden": (8,), "batch_size": 8},
)

CORPUS = str(resources.files("gencore_ae").joinpath("docstrings.npz"))
"""Word counts x (N, 2000), float16, labels, and the words: real text for tests and first steps."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DocumentAutoencoderConfig(ModelConfig):
    """Counts or probabilities of data_shape[0] words."""

    data_shape: tuple[int] = (2000,)
    code_dim: int = 2
    hidden: tuple[int, ...] = (250, 125)

    def __post_init__(self) -> None:
        check(self.data_shape[0] > 1, "data_shape", self.data_shape, "(number of words,), at least 2")
        check(self.code_dim > 0, "code_dim", self.code_dim, "a positive integer")
        check(all(width > 0 for width in self.hidden), "hidden", self.hidden, "positive widths, or none")


def word_probabilities(counts: Tensor) -> Tensor:
    """Counts or probabilities (N, W) as probabilities. Raises GencoreError for negative ones and empty documents."""
    if counts.min() < 0:
        raise GencoreError(f"A word count is {counts.min().item():.4g}; expected 0 or more.")
    lengths = counts.sum(1, keepdim=True)
    if not lengths.min() > 0:
        raise GencoreError(f"Document {int(lengths.argmin())} of the batch has no word; leave empty documents out.")
    return counts / lengths


def nats_a_word(logits: Tensor, probabilities: Tensor) -> Tensor:
    """-sum_w p_w log softmax(logits)_w of (N, W), (N,)."""
    return -(probabilities * logits.log_softmax(1)).sum(1)


class DocumentAutoencoder(Autoencoder):
    """Multi-layer perceptrons; the encoder sees W p, which is 1 on average."""

    config_class = DocumentAutoencoderConfig
    config: DocumentAutoencoderConfig

    def __init__(self, config: DocumentAutoencoderConfig) -> None:
        super().__init__(config)
        widths = (*config.data_shape, *config.hidden, config.code_dim)
        self.encoder = nn.Sequential(*layers(widths, "relu"))
        self.decoder = nn.Sequential(*layers(widths[::-1], "relu"))

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Counts or probabilities (N, W) -> codes (N, code_dim)."""
        check_shape(x, self.config.data_shape)
        return self.encoder(word_probabilities(x) * x.shape[1])

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes (N, code_dim) -> word probabilities (N, W)."""
        check_shape(z, (self.config.code_dim,))
        return self.decoder(z).softmax(1)


class DocumentReconstruction(Objective):
    """Phase "autoencoder". `dropout`: the share of words left out; `code_noise`: a standard deviation.

    Logs `perplexity`: among how many words, equally likely, one of the document would be as hard to guess; lower is
    better.
    """

    def __init__(self, *, dropout: float, code_noise: float) -> None:
        super().__init__()
        check(0 <= dropout < 1, "word_dropout", dropout, "a share in [0, 1)")
        check(code_noise >= 0, "code_noise", code_noise, "0 or more")
        self.dropout, self.code_noise = dropout, code_noise

    def autoencoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"], counts or probabilities."""
        whole = word_probabilities(batch["x"])
        kept = whole * (torch.rand_like(whole) >= self.dropout)
        seen = torch.where(kept.sum(1, keepdim=True) > 0, kept, whole)
        code = model.encode(seen)
        nats = nats_a_word(model.decoder(code + self.code_noise * torch.randn_like(code)), whole).mean()
        return Loss(nats, {"perplexity": nats.detach().exp()})


def document_autoencoder(
    *,
    config: DocumentAutoencoderConfig = DocumentAutoencoderConfig(),
    steps: int = 1500,
    batch_size: int = 128,
    word_dropout: float = 0.3,
    code_noise: float = 0.1,
    learning_rate: float = 1e-3,
) -> Recipe:
    """Trains on a .npz file of word counts x (N, W): the bundled docstrings where nothing is named."""
    return Recipe(
        name="document-autoencoder",
        model=DocumentAutoencoder,
        config=config,
        stages=one_phase(
            DocumentReconstruction(dropout=word_dropout, code_noise=code_noise),
            Adam(learning_rate=learning_rate),
            steps=steps,
            schedule=cosine(steps),
        ),
        batch_size=batch_size,
        data=CORPUS,
    )
