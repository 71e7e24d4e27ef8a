"""Boundary-seeking GAN, discrete data (Hjelm et al. 2018, "Boundary-Seeking Generative Adversarial Networks",
arXiv:1702.08431, Algorithm 1).

Discrete samples let no gradient through, so the generator is a distribution g(x | z) that is pulled towards the better
of its own samples. With D the critic's logit, sp(u) = log(1 + exp(u)) and x_1 ... x_M ~ g(x | z):
    critic      E_x sp(-D(x)) + E_z sp(D(x_1))
    w_m = exp D(x_m) / sum_j exp D(x_j)                                                              (equation 9)
    generator  -E_z sum_m w_m log g(x_m | z), no gradient through w_m                                (equation 10)
exp D is the density ratio p / q that the best critic knows, so the w_m are importance weights, normalised.

Every number of an example is one of `levels` equally spaced values from -1 to 1, independent of the others given z: two
are black and white, and data are rounded to the nearest.

Deviations: fully connected networks where the paper has convolutional ones.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from gencore import Adam, Loss, Model, ModelConfig, Noise, Objective, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import logistic_critic_loss
from gencore.adversarial.objective import two_players
from gencore.config import check
from gencore.nn.dense import mlp
from gencore.nn.distributions import Drawable, OneHot
from gencore.noise import GlobalNoise, NoiseSource

SYSTEM = SystemSpec(
    name="bs-gan-discrete",
    summary="Discrete data: the generator's own samples, weighted by the critic's density ratio",
    paper=Paper(
        title="Boundary-Seeking Generative Adversarial Networks",
        authors="Hjelm et al.",
        year=2018,
        arxiv="1702.08431",
    ),
    model="DiscreteGAN",
    recipe="bs_gan_discrete",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "hidden": (32,), "num_samples": 4, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DiscreteGANConfig(ModelConfig):
    """`levels`: values that a number can take, equally spaced from -1 to 1."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    latent_dim: int = 64
    hidden: tuple[int, ...] = (256, 256)
    levels: int = 2

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")
        check(bool(self.hidden) and min(self.hidden) > 0, "hidden", self.hidden, "positive widths")
        check(2 <= self.levels <= 256, "levels", self.levels, "from 2 to 256")


def nearest_level(x: Tensor, levels: int) -> Tensor:
    """x in [-1, 1], any shape -> the number of the nearest level, int64."""
    return ((x + 1) * (0.5 * (levels - 1))).round().long().clamp(0, levels - 1)


def level_value(level: Tensor, levels: int) -> Tensor:
    """Numbers of levels -> their values in [-1, 1], float32."""
    return level.float() * (2 / (levels - 1)) - 1


class Levels(Drawable):
    """Independent numbers, each one of K values from -1 to 1; logits (N, *event, K)."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits[..., 0])
        self.choice, self.levels = OneHot(logits), logits.shape[-1]

    @property
    def mean(self) -> Tensor:
        """(N, *event)."""
        return self.choice.mean @ level_value(torch.arange(self.levels, device=self.choice.mean.device), self.levels)

    def draw(self, noise: NoiseSource, k: int = 1) -> Tensor:
        """(k, N, *event)."""
        return level_value(self.choice.gumbel(noise, k).argmax(-1), self.levels)

    def log_prob(self, value: Tensor) -> Tensor:
        """value (..., N, *event), rounded to the nearest level -> (..., N) nats."""
        chosen = rearrange(nearest_level(value, self.levels), "... -> ... 1")
        logs = self.choice.log_probabilities.expand(*value.shape, -1)
        return logs.gather(-1, chosen).flatten(-1 - len(self.event_shape)).sum(-1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DistributionSampler:
    """Draw a code of the prior, then an example of the distribution that it generates."""

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """One example for each stream of noise."""
        return model.generate(model.draw_prior(noise)).draw(noise)[0]


class DiscreteGAN(Model):
    """Fully connected networks; the generator's output is a distribution."""

    config_class = DiscreteGANConfig
    regions = ("generator", "critic")
    config: DiscreteGANConfig

    def __init__(self, config: DiscreteGANConfig) -> None:
        super().__init__(config)
        size = math.prod(config.data_shape)
        self.generator = mlp((config.latent_dim, *config.hidden, size * config.levels))
        self.critic = mlp((size, *config.hidden, 1))

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Levels:
        """z (N, latent_dim) -> g(x | z), event `config.data_shape`."""
        return Levels(self.generator(z).reshape(len(z), *self.config.data_shape, self.config.levels))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) logits, larger for real."""
        return rearrange(self.critic(x.flatten(1)), "n 1 -> n")

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def default_sampler(self) -> DistributionSampler:
        """A code, then an example."""
        return DistributionSampler()


def importance_weights(logits: Tensor) -> Tensor:
    """w_m of logits (M, N), (M, N): over the M samples of one z they sum to 1. Without gradient."""
    return logits.detach().softmax(0)


class BoundarySeeking(Objective):
    """Phases "critic" and "generator"."""

    def __init__(self, *, num_samples: int) -> None:
        super().__init__()
        check(num_samples > 1, "num_samples", num_samples, "at least 2: the weights compare samples of one z")
        self.num_samples = num_samples

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"], rounded to levels, and as many new examples."""
        noise = GlobalNoise.like(batch["x"])
        with torch.no_grad():
            distribution = model.generate(model.draw_prior(noise))
            fake = distribution.draw(noise)[0]
        real = level_value(nearest_level(batch["x"], distribution.levels), distribution.levels)
        return Loss(logistic_critic_loss(model.judge(real), model.judge(fake)))

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On as many codes as batch["x"] has, with `num_samples` examples of each."""
        noise = GlobalNoise.like(batch["x"])
        distribution = model.generate(model.draw_prior(noise))
        with torch.no_grad():
            samples = distribution.draw(noise, self.num_samples)
            logits = model.judge(rearrange(samples, "m n ... -> (m n) ..."))
        weights = importance_weights(rearrange(logits, "(m n) -> m n", m=self.num_samples))
        return Loss(-(weights * distribution.log_prob(samples)).sum(0).mean())


def bs_gan_discrete(
    *,
    config: DiscreteGANConfig = DiscreteGANConfig(),
    steps: int = 4000,
    batch_size: int = 64,
    num_samples: int = 20,
    learning_rate: float = 3e-4,
) -> Recipe:
    """`num_samples`: the paper's M."""
    objective = BoundarySeeking(num_samples=num_samples)
    return Recipe(
        name="bs-gan-discrete",
        model=DiscreteGAN,
        config=config,
        stages=two_players(objective, Adam(learning_rate=learning_rate, betas=(0.5, 0.999)), steps=steps),
        batch_size=batch_size,
    )
