"""Conditional DCGAN: the conditional game of Mirza & Osindero 2014 (arXiv:1411.1784, equation 2) on the networks of
Radford, Metz & Chintala 2016 (arXiv:1511.06434).

The generator gets the class one-hot behind z; the critic gets num_classes further maps at its input, of which that of
the class is 1 everywhere and the others are 0.

Deviations: the rates of `gencore_gan.architectures.dcgan`; what is sampled is an average of the generator's weights.
"""

from __future__ import annotations

import dataclasses

import torch
from einops import rearrange, repeat
from torch import Tensor

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import Adversarial, generator_average, two_players
from gencore.errors import GencoreError
from gencore_gan.conditional.cgan import told_classes
from gencore_gan.parts.labelled import LabelledGANConfig, LabelledGenerator
from gencore_gan.parts.networks import conv_critic

SYSTEM = SystemSpec(
    name="cdcgan",
    summary="The conditional game on convolutional networks, the class as maps beside the image",
    paper=Paper(
        title="Conditional Generative Adversarial Nets", authors="Mirza & Osindero", year=2014, arxiv="1411.1784"
    ),
    model="CDCGAN",
    recipe="cdcgan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "conditional"),
    tiny={"latent_dim": 4, "width": 4, "batch_size": 8},
)


class CDCGAN(LabelledGenerator):
    """All-convolutional; the critic sees the class as constant maps."""

    def __init__(self, config: LabelledGANConfig) -> None:
        super().__init__(config)
        if config.network != "conv":
            raise GencoreError('network is "dense"; cdcgan is convolutional, cgan dense.')
        channels, height, width = config.data_shape
        seen = dataclasses.replace(config.convolutional(1), data_shape=(channels + config.num_classes, height, width))
        self.critic = conv_critic(seen)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape), classes (N,) -> (N,) logits, larger for real images of that class."""
        classes = told_classes(condition, self.config.num_classes, x)
        maps = repeat(classes, "n k -> n k h w", h=x.shape[2], w=x.shape[3])
        return rearrange(self.critic(torch.cat([x, maps], 1)), "n 1 1 1 -> n")


def cdcgan(
    *,
    config: LabelledGANConfig = LabelledGANConfig(network="conv"),
    steps: int = 4000,
    batch_size: int = 64,
    learning_rate: float = 5e-4,
    ema_decay: float = 0.99,
) -> Recipe:
    """One critic step for each of the generator's."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    return Recipe(
        name="cdcgan",
        model=CDCGAN,
        config=config,
        stages=two_players(Adversarial(non_saturating), optimizer, steps=steps),
        batch_size=batch_size,
        ema=generator_average(ema_decay),
    )
