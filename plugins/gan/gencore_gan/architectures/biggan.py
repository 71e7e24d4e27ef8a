"""BigGAN (Brock, Donahue & Simonyan 2019, "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
arXiv:1809.11096).

    losses       hinge; D(x, y) = w . h(x) + e(y) . h(x), the projection critic              (section 3, appendix B)
    condition    batch normalisation whose scale and shift are linear in (e(y), z_k): one shared embedding of the class,
                 and a piece of the code for each block                                             (section 3.1)
    orthogonal   weight sum_W || W W' * (1 - I) ||^2 over the generator's matrices: rows apart, of any length
                                                                                                    (equation 3)
    truncation   numbers of z beyond a threshold are drawn again                                    (section 3.1)
    spectral normalisation in both networks, orthogonal initial weights, two critic steps, rates 2e-4 for the critic and
    5e-5 for the generator, Adam with betas (0, 0.999), a weight average to sample from             (appendix C)
The authors' program adds half the gradient of equation 3; here it is the equation's. Classes of generated pictures are
those of the batch.

Deviations: rates of 1e-3 for both players and an average of decay 0.99, for trainings of thousands of steps on small
pictures; no self-attention; batch statistics are running averages in place of standing ones.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import hinge
from gencore.adversarial.objective import Adversarial, generator_average
from gencore.conditions import ClassLabel
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.conv import check_image_shape
from gencore.nn.labels import one_hot
from gencore.noise import Noise, NoiseSource
from gencore_gan.parts.residual import CriticBlock, GeneratorBlock
from gencore_gan.parts.spectral import SpectralConv2d, SpectralLinear, iterate

SYSTEM = SystemSpec(
    name="biggan",
    summary="Class-conditional residual networks, spectrally normalised; truncation trades variety for looks",
    paper=Paper(
        title="Large Scale GAN Training for High Fidelity Natural Image Synthesis",
        authors="Brock, Donahue & Simonyan",
        year=2019,
        arxiv="1809.11096",
    ),
    model="BigGAN",
    recipe="biggan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "conditional"),
    tiny={"data_shape": (1, 8, 8), "piece_dim": 2, "width": 4, "embedding_dim": 4, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BigGANConfig(ModelConfig):
    """Square images of 8, 16, 32, ... pixels. `width`: channels at the image's full size, doubled at each halving, up
    to 16 `width`. `piece_dim`: numbers of the code for the first layer and each block. `embedding_dim`: numbers of a
    class."""

    data_shape: tuple[int, int, int] = (1, 8, 8)
    num_classes: int = 10
    piece_dim: int = 16
    embedding_dim: int = 32
    width: int = 32

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        check(self.data_shape[1] >= 8 and self.data_shape[0] > 0, "data_shape", self.data_shape, "8 pixels or more")
        check(self.num_classes > 0, "num_classes", self.num_classes, "a positive integer")
        check(self.piece_dim > 0, "piece_dim", self.piece_dim, "a positive integer")
        check(self.embedding_dim > 0, "embedding_dim", self.embedding_dim, "a positive integer")
        check(self.width > 0, "width", self.width, "a positive integer")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels at the image's size, at half of it, ... and at 4 x 4."""
        return tuple(self.width * min(2**level, 16) for level in range((self.data_shape[1] // 4).bit_length()))

    @property
    def latent_dim(self) -> int:
        """Numbers of the whole code."""
        return len(self.channels) * self.piece_dim


class Generator(nn.Module):
    """Code and class -> images."""

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        channels = config.channels[::-1]
        self.pieces = len(channels)
        condition_dim = config.piece_dim + config.embedding_dim
        self.embedding = nn.Embedding(config.num_classes, config.embedding_dim)
        self.start = nn.Sequential(
            SpectralLinear(config.piece_dim, 16 * channels[0]), nn.Unflatten(1, (channels[0], 4, 4))
        )
        pairs = itertools.pairwise(channels)
        self.blocks = nn.ModuleList(GeneratorBlock(inputs, outputs, condition_dim) for inputs, outputs in pairs)
        last = SpectralConv2d(channels[-1], config.data_shape[0], 3, padding=1)
        self.end = nn.Sequential(nn.BatchNorm2d(channels[-1]), nn.ReLU(), last, nn.Tanh())

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """z (N, latent_dim), label (N,) -> images (N, *data_shape) in [-1, 1]."""
        first, *others = z.chunk(self.pieces, 1)
        embedded, x = self.embedding(label), self.start(first)
        for block, piece in zip(self.blocks, others, strict=True):
            x = block(x, torch.cat([embedded, piece], 1))
        return self.end(x)


class Critic(nn.Module):
    """Images and classes -> scores."""

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        widths = (config.data_shape[0], *config.channels[1:])
        pairs = enumerate(itertools.pairwise(widths))
        blocks = [CriticBlock(inputs, outputs, relu_first=level > 0) for level, (inputs, outputs) in pairs]
        self.trunk = nn.Sequential(*blocks, nn.ReLU())
        self.score, self.embedding = SpectralLinear(widths[-1], 1), SpectralLinear(config.num_classes, widths[-1])

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """x (N, C, H, W), label (N, num_classes) one-hot -> (N,)."""
        features = reduce(self.trunk(x), "n c h w -> n c", "sum")
        return projected(features, self.embedding(label)) + rearrange(self.score(features), "n 1 -> n")


def projected(features: Tensor, embedded: Tensor) -> Tensor:
    """e(y) . h(x) for each of (N, F), (N,)."""
    return (features * embedded).sum(1)


class BigGAN(Model):
    """A class-conditional generator and a projection critic."""

    config_class = BigGANConfig
    config: BigGANConfig
    regions = ("generator", "critic")

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__(config)
        self.generator, self.critic = Generator(config), Critic(config)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.orthogonal_(layer.weight)
        iterate(self, rounds=10)

    @property
    def condition(self) -> ClassLabel:
        return ClassLabel(count=self.config.num_classes)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim), condition: classes (N,) -> images (N, *data_shape) in [-1, 1]."""
        return self.generator(z, needed(condition))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape), condition: classes (N,) -> scores (N,), larger for real ones of that class."""
        return self.critic(x, one_hot(needed(condition), self.config.num_classes, x))

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def default_sampler(self) -> TruncatedSampler:
        """Without truncation: model.sample(n, truncation=0.5) asks for it."""
        return TruncatedSampler()


def needed(condition: Tensor | None) -> Tensor:
    """The classes. Raises GencoreError where there are none."""
    if condition is None:
        raise GencoreError("BigGAN was given no class; expected condition=labels, one for each example.")
    return condition


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TruncatedSampler:
    """z ~ N(0, 1), each number drawn again while it is beyond `truncation` on either side; None draws once."""

    truncation: float | None = None

    def __post_init__(self) -> None:
        threshold = self.truncation
        check(threshold is None or threshold > 0, "truncation", threshold, "a positive number, or None")

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """One image for each stream of noise."""
        z = model.draw_prior(noise)
        while self.truncation is not None and bool((beyond := z.abs() > self.truncation).any()):
            z = torch.where(beyond, model.draw_prior(noise), z)
        images: Tensor = model.generate(z, condition=condition)
        if callback:
            callback(1, 1)
        return images


def overlap_of_rows(weight: Tensor) -> Tensor:
    """|| W W' * (1 - I) ||^2 of a weight (O, ...) as a matrix of O rows: 0 where they are orthogonal, of any length."""
    rows = weight.flatten(1)
    products = rows @ rows.T
    return (products - products.diag().diag()).square().sum()


class BigAdversarial(Adversarial):
    """The hinge game; the generator pays for rows that overlap.

    Logs `overlap`: of the rows of the generator's weights, 0 where they are orthogonal; lower is better.
    """

    def __init__(self, *, orthogonal_weight: float) -> None:
        check(orthogonal_weight >= 0, "orthogonal_weight", orthogonal_weight, "0 or more")
        super().__init__(hinge)
        self.orthogonal_weight = orthogonal_weight

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """As `Adversarial`, and equation 3 over convolutions and linear layers; the embedding is left out."""
        loss = super().generator(model, batch)
        layers = [layer for layer in model.generator.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        overlap = torch.stack([overlap_of_rows(layer.weight) for layer in layers]).sum()
        total = loss.total + self.orthogonal_weight * overlap
        return loss._replace(total=total, metrics={**loss.metrics, "overlap": overlap.detach()})

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """One round of the power iteration in the player that has stepped."""
        iterate(getattr(model, phase))


def biggan(
    *,
    config: BigGANConfig = BigGANConfig(),
    steps: int = 2000,
    batch_size: int = 64,
    critic_steps: int = 2,
    orthogonal_weight: float = 1e-4,
    critic_rate: float = 1e-3,
    generator_rate: float = 1e-3,
    ema_decay: float = 0.99,
) -> Recipe:
    """`orthogonal_weight`: the paper's beta."""
    rates = {"critic": critic_rate, "generator": generator_rate}
    phases = tuple(
        Phase(
            name=player,
            parts=(player,),
            optimizer=Adam(learning_rate=rate, betas=(0.0, 0.999)),
            repeats=critic_steps if player == "critic" else 1,
        )
        for player, rate in rates.items()
    )
    objective = BigAdversarial(orthogonal_weight=orthogonal_weight)
    return Recipe(
        name="biggan",
        model=BigGAN,
        config=config,
        stages=(Stage(objective=objective, phases=phases, steps=steps),),
        batch_size=batch_size,
        ema=generator_average(ema_decay),
    )
