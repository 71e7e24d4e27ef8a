"""VQ-VAE for speech with speaker conditioning (van den Oord, Vinyals & Kavukcuoglu 2017, "Neural Discrete
Representation Learning", arXiv:1711.00937, section 4.3).

    codes = k(E(x)),   x' = G(z_q, speaker),   loss: equation 3 of the paper, as in gencore_vq.vq_vae
The decoder is told who speaks, so the codes need not carry it and keep what is said: decoding them with another speaker
converts the voice. Time is reduced (here by 8, in the paper by 64), which leaves few codes, and the codebook is small.

Deviations: log-spectrograms in place of the waveform, and so 1-D convolutions over time in place of a WaveNet decoder;
moving averages, k-means beginning and restart; no prior. Data: `vowels` (gencore.data.toys.vowels), or any pictures
(1, bands, frames) in [-1, 1] with the speaker as label.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor, nn

from gencore import Adam, Model, ModelConfig, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore_vq.parts.codebook import Codebook
from gencore_vq.vq_vae import VectorQuantization, check_codes, check_data, check_labels, finite

SYSTEM = SystemSpec(
    name="speech-vq-vae",
    summary="Spectrograms to a few codes, decoded with the speaker: voice conversion",
    paper=Paper(
        title="Neural Discrete Representation Learning",
        authors="van den Oord, Vinyals & Kavukcuoglu",
        year=2017,
        arxiv="1711.00937",
    ),
    model="SpeechVQVAE",
    recipe="speech_vq_vae",
    roles=("encoder", "generator"),
    claims=("compiles", "exact-data-parallel", "conditional"),
    tiny={
        "num_codes": 8,
        "code_dim": 4,
        "width": 8,
        "kmeans_iterations": 0,
        "batch_size": 8,
    },
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SpeechVQVAEConfig(ModelConfig):
    """Spectrograms (1, bands, frames); `num_classes`: the speakers, None to tell the decoder nothing."""

    data_shape: tuple[int, int, int] = (1, 64, 32)
    num_classes: int | None = 4
    num_codes: int = 16
    code_dim: int = 16
    width: int = 64

    def __post_init__(self) -> None:
        channels, bands, frames = self.data_shape
        check(
            channels == 1 and bands > 0 and frames > 0 and frames % 8 == 0,
            "data_shape",
            self.data_shape,
            "(1, bands, frames) with a number of frames that is a multiple of 8: cut or pad the clips",
        )
        for name in ("num_codes", "code_dim", "width"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")
        check(self.num_classes is None or self.num_classes > 0, "num_classes", self.num_classes, "null or at least 1")

    @property
    def code_shape(self) -> tuple[int]:
        """The codes of one clip: a sequence."""
        return (self.data_shape[2] // 8,)


def make_encoder(config: SpeechVQVAEConfig) -> nn.Sequential:
    """(N, 1, bands, frames) -> (N, code_dim, frames / 8): bands are channels, convolutions run over time."""
    width = config.width
    return nn.Sequential(
        nn.Flatten(1, 2),
        nn.Conv1d(config.data_shape[1], width, 3, 1, 1),
        nn.ReLU(),
        *(layer for _ in range(3) for layer in (nn.Conv1d(width, width, 4, 2, 1), nn.ReLU())),
        nn.Conv1d(width, config.code_dim, 1),
    )


class SpeakerDecoder(nn.Module):
    """The encoder's mirror; the speaker's embedding is added to its first layer at every time."""

    def __init__(self, config: SpeechVQVAEConfig) -> None:
        super().__init__()
        width, bands = config.width, config.data_shape[1]
        self.first = nn.Conv1d(config.code_dim, width, 3, 1, 1)
        self.speaker = nn.Embedding(config.num_classes, width) if config.num_classes else None
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(width, width, 1),
            nn.ReLU(),
            *(layer for _ in range(3) for layer in (nn.ConvTranspose1d(width, width, 4, 2, 1), nn.ReLU())),
            nn.Conv1d(width, bands, 3, 1, 1),
            nn.Unflatten(1, (1, bands)),
        )

    def forward(self, vectors: Tensor, speaker: Tensor | None = None) -> Tensor:
        """vectors (N, code_dim, T), speaker (N,) int64 -> (N, 1, bands, 8 T)."""
        x = self.first(vectors)
        if self.speaker is not None:
            assert speaker is not None
            x = x + self.speaker(speaker)[..., None]
        return self.layers(x)


class SpeechVQVAE(Model):
    """Encoder, codebook, and a decoder that is told the speaker."""

    config_class = SpeechVQVAEConfig
    config: SpeechVQVAEConfig
    regions = ("encoder", "decoder")

    def __init__(self, config: SpeechVQVAEConfig) -> None:
        super().__init__(config)
        self.encoder = make_encoder(config)
        self.codebook = Codebook(config.num_codes, config.code_dim, "ema")
        self.decoder = SpeakerDecoder(config)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Spectrograms (N, 1, bands, frames) -> codes (N, frames / 8) int64. Raises GencoreError for other shapes,
        NonFiniteError on NaN latents."""
        check_data(x, self.config.data_shape)
        return self.codebook(finite(self.encoder(x))).codes

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes (N, frames / 8) and speakers (N,) int64 -> spectrograms, about [-1, 1]."""
        check_codes(z, self.config.code_shape, self.config.num_codes)
        return self.decode(self.codebook.lookup(z), condition)

    def decode(self, vectors: Tensor, label: Tensor | None = None) -> Tensor:
        """Vectors (N, code_dim, frames / 8) and speakers (N,) -> spectrograms."""
        return self.decoder(vectors, self.check_speaker(label, len(vectors)))

    def convert(self, x: Tensor, speaker: Tensor) -> Tensor:
        """What is said in x (N, 1, bands, frames), said by `speaker` (N,): reconstruction where x is theirs."""
        return self.generate(self.encode(x), condition=speaker)

    def check_speaker(self, speaker: Any, count: int) -> Tensor | None:
        """The speakers (count,) for the decoder. Raises GencoreError for missing or unknown ones."""
        return check_labels(
            speaker, count, self.config.num_classes, "This model's decoder takes the speaker of every clip"
        )


def speech_vq_vae(
    *,
    config: SpeechVQVAEConfig = SpeechVQVAEConfig(),
    steps: int = 2000,
    batch_size: int = 64,
    commitment: float = 0.25,
    decay: float = 0.99,
    restart_below: float = 0.5,
    kmeans_iterations: int = 10,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`num_classes`: the number of speakers; None trains the twin whose decoder is not told who speaks."""
    objective = VectorQuantization(
        commitment=commitment, decay=decay, restart_below=restart_below, kmeans_iterations=kmeans_iterations
    )
    phase = Phase(name="autoencoder", parts=("encoder", "decoder"), optimizer=Adam(learning_rate=learning_rate))
    return Recipe(
        name="speech-vq-vae",
        model=SpeechVQVAE,
        config=config,
        stages=(Stage(name="autoencoder", objective=objective, phases=(phase,), steps=steps),),
        batch_size=batch_size,
        data="vowels",
    )
