"""Conditional GAN (Mirza & Osindero 2014, "Conditional Generative Adversarial Nets", arXiv:1411.1784).

    min_G max_D  E_x log D(x | y) + E_z log(1 - D(G(z | y) | y))                                        (equation 2)
The class y, one-hot, stands beside z at the generator's input and beside x at the critic's. The generator takes the
non-saturating form, E sp(-D(G(z | y) | y)).

Deviations: LeakyReLU networks where the paper has maxout and dropout; Adam where it has momentum; the classes of
generated examples are those of the batch's real ones.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import Adversarial, two_players
from gencore.errors import GencoreError
from gencore.nn.dense import mlp
from gencore.nn.labels import one_hot
from gencore_gan.parts.labelled import LabelledGANConfig, LabelledGenerator

SYSTEM = SystemSpec(
    name="cgan",
    summary="Generator and critic are both told the class",
    paper=Paper(
        title="Conditional Generative Adversarial Nets", authors="Mirza & Osindero", year=2014, arxiv="1411.1784"
    ),
    model="CGAN",
    recipe="cgan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable", "conditional"),
    tiny={"latent_dim": 4, "hidden": (16,), "batch_size": 8},
)


class CGAN(LabelledGenerator):
    """Multi-layer perceptrons; the critic sees the class beside the data."""

    def __init__(self, config: LabelledGANConfig) -> None:
        super().__init__(config)
        if config.network != "dense":
            raise GencoreError('network is "conv"; cgan is dense, cdcgan convolutional.')
        size = math.prod(config.data_shape)
        self.critic = mlp((size + config.num_classes, *config.hidden, 1))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape), classes (N,) -> (N,) logits, larger for real data of that class."""
        classes = told_classes(condition, self.config.num_classes, x)
        return rearrange(self.critic(torch.cat([x.flatten(1), classes], 1)), "n 1 -> n")


def told_classes(condition: Tensor | None, num_classes: int, x: Tensor) -> Tensor:
    """One-hot classes of x (N, ...), (N, num_classes). Raises GencoreError where there are none."""
    if condition is None:
        raise GencoreError("This critic judges data of a class: give condition=...")
    return one_hot(condition, num_classes, x)


def cgan(
    *,
    config: LabelledGANConfig = LabelledGANConfig(),
    steps: int = 4000,
    batch_size: int = 64,
    learning_rate: float = 5e-4,
) -> Recipe:
    """One critic step for each of the generator's."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    return Recipe(
        name="cgan",
        model=CGAN,
        config=config,
        stages=two_players(Adversarial(non_saturating), optimizer, steps=steps),
        batch_size=batch_size,
    )
