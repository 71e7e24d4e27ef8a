"""ArtGAN, in its improved version (Tan et al. 2019, "Improved ArtGAN for Conditional Synthesis of Natural Image and
Artwork", arXiv:1708.09533; first as "ArtGAN: Artwork Synthesis with Conditional Categorical GANs", arXiv:1702.03410).

The critic is an autoencoder with a head for real, a head for the class, and a decoder dec on its trunk:
    critic      E sp(-D(x)) + E sp(D(G)) + E CE(y | x) + 1/2 E ||dec(x) - x||^2
    generator   E sp(-D(G)) + E CE(c | G) + 1/2 E ||dec(G) - G||^2
The critic names the class of real examples alone (unlike AC-GAN's), and the generator is paid for images that the
critic's autoencoder, trained on real ones, rebuilds. Here the reconstruction's gradient reaches G through both of its
sides; it is a mean over pixels, weighted by `reconstruction_weight`.

Deviations: small networks; the weight of the reconstruction is a mean's, where the paper sums over pixels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gencore import Adam, Loss, Objective, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import told_condition, two_players
from gencore.config import check
from gencore.nn.dense import mlp
from gencore.noise import GlobalNoise
from gencore_gan.parts.labelled import ClassHeads, LabelledGANConfig, LabelledGenerator

SYSTEM = SystemSpec(
    name="artgan",
    summary="A critic that names the class and rebuilds the image; the generator draws what it can rebuild",
    paper=Paper(
        title="Improved ArtGAN for Conditional Synthesis of Natural Image and Artwork",
        authors="Tan et al.",
        year=2019,
        arxiv="1708.09533",
    ),
    model="ArtGAN",
    recipe="artgan",
    roles=("generator", "critic", "sampler"),
    traits=("reconstruct", "classify"),
    claims=("compiles", "twice-differentiable", "conditional"),
    tiny={"latent_dim": 4, "hidden": (16,), "code_dim": 4, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ArtGANConfig(LabelledGANConfig):
    """`code_dim`: numbers between the critic's trunk and its decoder."""

    code_dim: int = 32

    def __post_init__(self) -> None:
        LabelledGANConfig.__post_init__(self)
        check(self.code_dim > 0, "code_dim", self.code_dim, "a positive integer")


class RebuildingHeads(ClassHeads):
    """Class heads, and a decoder of the trunk's features."""

    def __init__(self, config: ArtGANConfig) -> None:
        super().__init__(config)
        size = math.prod(config.data_shape)
        squash = nn.Tanh() if len(config.data_shape) == 3 else nn.Identity()
        decoder = mlp((config.trunk_dim, config.code_dim, config.hidden[0], size))
        self.decoder = nn.Sequential(decoder, nn.Unflatten(1, config.data_shape), squash)

    def rebuild(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> the same shape."""
        return self.decoder(self.trunk(x))


class ArtGAN(LabelledGenerator):
    """`critic`: trunk, heads and decoder."""

    config_class = ArtGANConfig
    config: ArtGANConfig
    regions = ("generator",)

    def __init__(self, config: ArtGANConfig) -> None:
        super().__init__(config)
        self.critic = RebuildingHeads(config)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) logits, larger for real, whatever the class."""
        return self.critic(x)[0]

    def classify(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> the likeliest class of each, (N,) int64."""
        return self.critic(x)[1].argmax(1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) through the critic's autoencoder."""
        return self.critic.rebuild(x)


class ArtGame(Objective):
    """Phases "critic" and "generator".

    Logs `game`, `class` and `reconstruction`, of data in phase "critic", of generated examples in "generator".
    """

    def __init__(self, *, class_weight: float, reconstruction_weight: float) -> None:
        super().__init__()
        check(class_weight >= 0, "class_weight", class_weight, "0 or more")
        check(reconstruction_weight >= 0, "reconstruction_weight", reconstruction_weight, "0 or more")
        self.class_weight, self.reconstruction_weight = class_weight, reconstruction_weight

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The game, the classes and the reconstructions of real examples."""
        x, label = batch["x"], told_condition(model, batch)
        with torch.no_grad():
            fake = model.generate(model.draw_prior(GlobalNoise.like(x)), condition=label)
        real_logit, classes = model.critic(x)
        game = non_saturating.critic(real_logit, model.judge(fake))
        named, rebuilt = cross_entropy(classes, label), rebuilding_error(model, x)
        total = game + self.class_weight * named + self.reconstruction_weight * rebuilt
        return Loss(total, {"game": game, "class": named, "reconstruction": rebuilt})

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real to the critic, of the class, and easy to rebuild."""
        label = told_condition(model, batch)
        fake = model.generate(model.draw_prior(GlobalNoise.like(batch["x"])), condition=label)
        logit, classes = model.critic(fake)
        named, rebuilt = cross_entropy(classes, label), rebuilding_error(model, fake)
        total = non_saturating.generator(logit) + self.class_weight * named + self.reconstruction_weight * rebuilt
        return Loss(total, {"class": named, "reconstruction": rebuilt})


def rebuilding_error(model: Any, x: Tensor) -> Tensor:
    """1/2 (dec(x) - x)^2, mean over all numbers."""
    return 0.5 * (model.critic.rebuild(x) - x).square().mean()


def artgan(
    *,
    config: ArtGANConfig = ArtGANConfig(),
    steps: int = 4000,
    batch_size: int = 64,
    class_weight: float = 1.0,
    reconstruction_weight: float = 10.0,
    learning_rate: float = 5e-4,
) -> Recipe:
    """`class_weight` and `reconstruction_weight` are in both losses."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    objective = ArtGame(class_weight=class_weight, reconstruction_weight=reconstruction_weight)
    return Recipe(
        name="artgan",
        model=ArtGAN,
        config=config,
        stages=two_players(objective, optimizer, steps=steps),
        batch_size=batch_size,
    )
