"""Probabilistic PCA (Tipping & Bishop 1999, "Probabilistic Principal Component Analysis", J. R. Stat. Soc. B 61).

    x = W z + mean + sigma e,   z, e ~ N(0, 1)                          (equation 2)
    log p(x) = log N(x; mean, C),   C = W W^T + sigma^2 I               (equations 4 and 5)
    E[z | x] = M^-1 W^T (x - mean),   M = W^T W + sigma^2 I             (equation 8)
Trained by gradient ascent on the likelihood, where the paper has a closed form.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.noise import NoiseSource

SYSTEM = SystemSpec(
    name="affine-gaussian",
    summary="Probabilistic principal components, learned by maximum likelihood",
    paper=Paper(title="Probabilistic Principal Component Analysis", authors="Tipping & Bishop", year=1999),
    model="AffineGaussian",
    recipe="affine_gaussian",
    roles=("encoder", "generator", "sampler"),
    traits=("log-prob",),
    claims=("exact-data-parallel",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AffineGaussianConfig(ModelConfig):
    """`latent_dim`: columns of W."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    latent_dim: int = 10

    def __post_init__(self) -> None:
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")


class AffineGaussian(Model):
    """W, the mean and log sigma."""

    config_class = AffineGaussianConfig
    config: AffineGaussianConfig

    def __init__(self, config: AffineGaussianConfig) -> None:
        super().__init__(config)
        size = math.prod(config.data_shape)
        self.weight = nn.Parameter(0.1 * torch.randn(size, config.latent_dim))
        self.mean = nn.Parameter(torch.zeros(size))
        self.log_sigma = nn.Parameter(torch.zeros(()))

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> E[z | x], (N, latent_dim)."""
        noise = torch.exp(2 * self.log_sigma) * torch.eye(self.config.latent_dim, device=x.device)
        return torch.linalg.solve(
            self.weight.T @ self.weight + noise, (x.flatten(1) - self.mean) @ self.weight, left=False
        )

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> the mean of x given z, (N, *data_shape)."""
        return (z @ self.weight.T + self.mean).reshape(len(z), *self.config.data_shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> log p(x), (N,) nats."""
        return torch.distributions.LowRankMultivariateNormal(
            self.mean, self.weight, torch.exp(2 * self.log_sigma).expand(len(self.mean))
        ).log_prob(x.flatten(1))

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)


class MaximumLikelihood(Objective):
    """-E log p(x), in nats for each number of x."""

    def likelihood(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"]."""
        x = batch["x"]
        return Loss(-model.log_prob(x).mean() / x[0].numel())


def affine_gaussian(
    *, config: AffineGaussianConfig = AffineGaussianConfig(), steps: int = 1000, batch_size: int = 64
) -> Recipe:
    """One phase, one stage."""
    phase = Phase(name="likelihood", parts=("",), optimizer=Adam(learning_rate=1e-2))
    return Recipe(
        name="affine-gaussian",
        model=AffineGaussian,
        config=config,
        stages=(Stage(objective=MaximumLikelihood(), phases=(phase,), steps=steps),),
        batch_size=batch_size,
    )
