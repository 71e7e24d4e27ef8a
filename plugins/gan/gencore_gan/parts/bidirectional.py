"""A generator and an encoder against one critic of pairs (data, code): what BiGAN and ALI share.

With D the logit of the pair, sp(u) = log(1 + exp(u)), z from the prior and z^ = E(x) the encoder's code:
    critic               E_x sp(-D(x, z^)) + E_z sp(D(G(z), z))
    generator, encoder   E_x sp(D(x, z^)) + E_z sp(-D(G(z), z))
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from gencore import Adam, Loss, Model, Objective, Phase, Recipe, Stage
from gencore.adversarial.losses import non_saturating
from gencore.nn.dense import mlp
from gencore.noise import GlobalNoise, NoiseSource
from gencore_gan.parts.networks import DenseGANConfig, dense_generator


class BidirectionalGAN(Model, abc.ABC):
    """Base: multi-layer perceptrons; `encoder` gives `outputs` numbers."""

    config_class = DenseGANConfig
    config: DenseGANConfig
    regions = ("generator", "encoder", "critic")

    def __init__(self, config: DenseGANConfig, *, outputs: int) -> None:
        super().__init__(config)
        size = math.prod(config.data_shape)
        self.generator = dense_generator(config)
        self.encoder = mlp((size, *config.hidden, outputs))
        self.critic = mlp((size + config.latent_dim, *config.hidden, 1))

    @abc.abstractmethod
    def infer(self, x: Tensor, noise: NoiseSource) -> Tensor:
        """The code that the critic sees beside x (N, *data_shape), (N, latent_dim)."""

    @abc.abstractmethod
    def code(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> its code without noise, (N, latent_dim)."""

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> data (N, *data_shape)."""
        return self.generator(z).reshape(len(z), *self.config.data_shape)

    def judge_pairs(self, x: Tensor, z: Tensor) -> Tensor:
        """x (N, *data_shape), z (N, latent_dim) -> (N,) logits, larger for data with their inferred codes."""
        return rearrange(self.critic(torch.cat([x.flatten(1), z], 1)), "n 1 -> n")

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) with its code -> (N,) logits, larger for data."""
        return self.judge_pairs(x, self.code(x))

    def reconstruct(self, x: Tensor) -> Tensor:
        """G of the code of x: of the same kind, and only as near as the game has brought it."""
        return self.generate(self.code(x))


class JointGame(Objective):
    """Phases "critic" and "pair", the generator with the encoder.

    Logs `inferred` and `generated`: mean scores of data with inferred codes, and of codes with generated data; neither
    way is better: what counts is the first's lead, which at a draw is nothing.
    """

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Data with inferred codes against codes with generated data."""
        with torch.no_grad():
            inferred, generated = pairs(model, batch["x"])
        real, fake = model.judge_pairs(*inferred), model.judge_pairs(*generated)
        return Loss(non_saturating.critic(real, fake), {"inferred": real.mean(), "generated": fake.mean()})

    def pair(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The critic's loss with the kinds exchanged: each player must look like the other."""
        inferred, generated = pairs(model, batch["x"])
        return Loss(non_saturating.critic(model.judge_pairs(*generated), model.judge_pairs(*inferred)))


def pairs(model: Any, x: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(x, E(x)) and (G(z), z), with as many z from the prior as x has rows."""
    noise = GlobalNoise.like(x)
    z = model.draw_prior(noise)
    return (x, model.infer(x, noise)), (model.generate(z), z)


def bidirectional_recipe(
    name: str, model: type[Model], config: DenseGANConfig, *, steps: int, batch_size: int, learning_rate: float
) -> Recipe:
    """One step of the critic, then one of generator and encoder together."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=optimizer),
        Phase(name="pair", parts=("generator", "encoder"), optimizer=optimizer),
    )
    stage = Stage(objective=JointGame(), phases=phases, steps=steps)
    return Recipe(name=name, model=model, config=config, stages=(stage,), batch_size=batch_size)
