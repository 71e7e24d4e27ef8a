"""A GAN, and an encoder that learns to invert its generator afterwards: what AEGAN, iGAN and AnoGAN share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gencore import Adam, Loss, Model, Objective, Phase, Stage
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import Adversarial, condition_of, two_players
from gencore.config import check
from gencore.nn.dense import mlp
from gencore.noise import GlobalNoise, NoiseSource
from gencore.recipes import later_steps
from gencore_gan.parts.networks import DenseGANConfig, dense_generator


class FeatureGAN(Model):
    """Base: multi-layer perceptrons; the critic's `trunk` gives features, its `head` judges by them."""

    config_class = DenseGANConfig
    config: DenseGANConfig
    regions: ClassVar[tuple[str, ...]] = ("generator", "critic")

    def __init__(self, config: DenseGANConfig) -> None:
        super().__init__(config)
        size = math.prod(config.data_shape)
        self.generator = dense_generator(config)
        trunk = nn.Sequential(nn.Flatten(), mlp((size, *config.hidden)), nn.LeakyReLU(0.2))
        self.critic = nn.Sequential(trunk, nn.Linear(config.hidden[-1], 1))

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> data (N, *data_shape)."""
        return self.generator(z).reshape(len(z), *self.config.data_shape)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) logits, larger for real."""
        return rearrange(self.critic(x), "n 1 -> n")

    def features(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> what the critic's last layer judges by, (N, hidden[-1])."""
        return self.critic[0](x)


class InvertedGAN(FeatureGAN):
    """With an encoder, which knows nothing of the critic."""

    regions = ("generator", "critic", "encoder")

    def __init__(self, config: DenseGANConfig) -> None:
        super().__init__(config)
        self.encoder = mlp((math.prod(config.data_shape), *config.hidden, config.latent_dim))

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> code (N, latent_dim)."""
        return self.encoder(x.flatten(1))


class Inverter(Objective):
    """Phase "encoder": E learns to invert a generator that stays as it is.

    `on`: "generated" data, or "real" ones. `space`: where the error is a mean square: in "data", G(E(x)) against x, or
    in "code", E(G(z)) against z, for generated data alone. `feature_weight`: of the mean square in `model.features`.
    Where the model takes a condition, generated examples have that of the batch.

    Logs `error`: mean square between what is inverted and its rebuilding; lower is better.
    """

    def __init__(
        self, *, on: Literal["generated", "real"], space: Literal["data", "code"], feature_weight: float = 0.0
    ) -> None:
        super().__init__()
        check(on == "generated" or space == "data", "space", space, '"data": real data have no code to compare with')
        check(feature_weight >= 0, "feature_weight", feature_weight, "0 or more")
        self.on, self.space, self.feature_weight = on, space, feature_weight

    def encoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"], or on as many generated examples."""
        x, z, condition = batch["x"], torch.empty(0), condition_of(model, batch)
        if self.on == "generated":
            z = model.draw_prior(GlobalNoise.like(x))
            with torch.no_grad():
                x = model.generate(z, condition=condition)
        code = model.encode(x)
        if self.space == "code":
            error = mse_loss(code, z)
            return Loss(error, {"error": error})
        rebuilt = model.generate(code, condition=condition)
        error = mse_loss(rebuilt, x)
        total = error
        if self.feature_weight:
            with torch.no_grad():
                seen = model.features(x)
            total = total + self.feature_weight * mse_loss(model.features(rebuilt), seen)
        return Loss(total, {"error": error})


def gan_then_inverter(
    inverter: Inverter, *, steps: int, inverter_steps: int | None, learning_rate: float, inverter_learning_rate: float
) -> tuple[Stage, ...]:
    """A plain GAN; then it is frozen, and its encoder trained."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    phase = Phase(name="encoder", parts=("encoder",), optimizer=Adam(learning_rate=inverter_learning_rate))
    after = Stage(
        objective=inverter,
        phases=(phase,),
        steps=later_steps(inverter_steps, steps, 1 / 2),
        name="inverter",
        frozen=("generator", "critic"),
    )
    return (*two_players(Adversarial(non_saturating), optimizer, steps=steps), after)
