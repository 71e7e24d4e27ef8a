"""LAGAN (de Oliveira, Paganini & Nachman 2017, "Learning Particle Physics by Example: Location-Aware Generative
Adversarial Networks for Physics Synthesis", arXiv:1701.05927).

A GAN of sparse images of jets with a class head: the losses of AC-GAN, with L_S and L_C as in gencore_gan.conditional.
ac_gan. New are the networks (section 3.2):
    locally connected layers   every place has its own kernel, since a jet image is not shift invariant
    ReLU at the output         pixels of exactly 0, which a tanh cannot give
    minibatch discrimination   in the critic
A share of the critic's real-or-generated labels is flipped while it trains (section 3.3): with probability `flip` an
example is judged as of the other side.

Deviations: 15 x 15 pixels for the paper's 25 x 25, and one locally connected layer a player fewer; z and the one-hot
class side by side, for the paper's product of z with an embedding of the class, with which the class was not learned
at this size. The networks see transverse momentum in units of `unit`, so that their numbers are of order 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from gencore import Loss, Model, ModelConfig, Paper, Recipe, SystemSpec
from gencore.adversarial.objective import condition_of
from gencore.conditions import ClassLabel, Condition
from gencore.config import check
from gencore.data.toys.jets import hit_share, mass
from gencore.errors import GencoreError
from gencore.nn.labels import one_hot
from gencore.nn.minibatch import MinibatchDiscrimination
from gencore.noise import GlobalNoise, NoiseSource
from gencore_gan.conditional.ac_gan import AuxiliaryClassification
from gencore_gan.parts.locally_connected import LocallyConnected
from gencore_gan.parts.two_rates import two_rates

SYSTEM = SystemSpec(
    name="lagan",
    summary="Sparse images of jets, by layers whose kernels differ from place to place",
    paper=Paper(
        title="Learning Particle Physics by Example: Location-Aware Generative Adversarial Networks",
        authors="de Oliveira, Paganini & Nachman",
        year=2017,
        arxiv="1701.05927",
    ),
    model="LAGAN",
    recipe="lagan",
    roles=("generator", "critic", "sampler"),
    traits=("classify",),
    claims=("compiles", "twice-differentiable", "conditional"),
    tiny={"latent_dim": 4, "width": 2, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LAGANConfig(ModelConfig):
    """`data_shape`: (H, W) of images whose pixels are 0 or more. `width`: maps of the locally connected layers.
    `unit`: what the networks count as 1, in the data's own unit."""

    data_shape: tuple[int, ...] = (15, 15)
    num_classes: int = 2
    latent_dim: int = 64
    width: int = 8
    unit: float = 10.0

    def __post_init__(self) -> None:
        shape = self.data_shape
        check(len(shape) == 2 and min(shape) > 0, "data_shape", shape, "(height, width)")
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2: data with labels")
        for name in ("latent_dim", "width", "unit"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive number")


def location_aware_generator(config: LAGANConfig) -> nn.Sequential:
    """(N, latent_dim + num_classes) -> images (N, 1, H, W), 0 or more, in units."""
    height, width = config.data_shape
    maps = config.width
    return nn.Sequential(
        nn.Linear(config.latent_dim + config.num_classes, maps * height * width),
        nn.Unflatten(1, (maps, height, width)),
        nn.LeakyReLU(0.2, inplace=True),
        LocallyConnected(maps, maps, (height, width)),
        nn.LeakyReLU(0.2, inplace=True),
        LocallyConnected(maps, 1, (height, width)),
        nn.ReLU(),
    )


class LocationAwareCritic(nn.Module):
    """Locally connected layers, minibatch discrimination, and heads for real or not and for the class."""

    def __init__(self, config: LAGANConfig) -> None:
        super().__init__()
        self.unit = config.unit
        height, width = config.data_shape
        maps, features = config.width, 16 * config.width
        similarity = MinibatchDiscrimination(features, kernels=8)
        self.trunk = nn.Sequential(
            LocallyConnected(1, maps, (height, width)),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Flatten(),
            nn.Linear(maps * height * width, features),
            nn.LeakyReLU(0.2, inplace=True),
            similarity,
        )
        self.real = nn.Linear(features + similarity.kernels, 1)
        self.classes = nn.Linear(features + similarity.kernels, config.num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, H, W) -> logits (N,), larger for real, and class logits (N, num_classes)."""
        features = self.trunk(rearrange(x / self.unit, "n h w -> n 1 h w"))
        return rearrange(self.real(features), "n 1 -> n"), self.classes(features)


class LAGAN(Model):
    """Draws images of the class that it is told; its critic names it."""

    config_class = LAGANConfig
    config: LAGANConfig
    regions = ("generator", "critic")

    def __init__(self, config: LAGANConfig) -> None:
        super().__init__(config)
        self.generator = location_aware_generator(config)
        self.critic = LocationAwareCritic(config)

    @property
    def condition(self) -> Condition:
        """The class that is drawn."""
        return ClassLabel(count=self.config.num_classes)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim), classes (N,) -> images (N, H, W), 0 or more. Raises GencoreError without classes."""
        if condition is None:
            raise GencoreError("LAGAN draws the class that it is told: give condition=...")
        code = torch.cat([z, one_hot(condition, self.config.num_classes, z)], 1)
        return self.config.unit * rearrange(self.generator(code), "n 1 h w -> n h w")

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, H, W) -> (N,) logits, larger for real, whatever the class."""
        return self.critic(x)[0]

    def classify(self, x: Tensor) -> Tensor:
        """Images (N, H, W) -> the likeliest class of each, (N,) int64."""
        return self.critic(x)[1].argmax(1)

    def figures_of_merit(self, x: Tensor, condition: Tensor | None) -> dict[str, Tensor]:
        """Of images (N, H, W) [GeV], pixels 0.1 wide: the jet's transverse momentum and mass [GeV], the share of pixels
        hit (section 5 of the paper)."""
        return {"pT": x.sum((1, 2)), "mass": mass(x), "hit share": hit_share(x)}


def flipped_loss(logits: Tensor, flips: Tensor) -> Tensor:
    """E sp(-D) of logits (N,), with the sign turned where `flips` (N,) is true."""
    return softplus(torch.where(flips, logits, -logits)).mean()


class FlippedClassification(AuxiliaryClassification):
    """AC-GAN's phases, with a share `flip` of the critic's labels of real and generated wrong."""

    def __init__(self, *, class_weight: float, flip: float) -> None:
        super().__init__(class_weight=class_weight)
        check(0 <= flip < 0.5, "flip", flip, "a share from 0 to less than a half")
        self.flip = flip

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real against generated, and the classes of both."""
        x, label, noise = batch["x"], condition_of(model, batch), GlobalNoise.like(batch["x"])
        assert label is not None
        with torch.no_grad():
            fake = model.generate(model.draw_prior(noise), condition=label)
        (real, real_class), (judged, fake_class) = model.critic(x), model.critic(fake)
        draws = noise.uniform(2).T
        flips = draws < self.flip
        named = cross_entropy(real_class, label) + cross_entropy(fake_class, label)
        game = flipped_loss(real, flips[0]) + flipped_loss(-judged, flips[1])
        metrics = {"real": real.mean(), "fake": judged.mean(), "class": named}
        return Loss(game + self.class_weight * named, metrics)


def lagan(
    *,
    config: LAGANConfig = LAGANConfig(),
    steps: int = 4000,
    batch_size: int = 100,
    class_weight: float = 1.0,
    flip: float = 0.05,
    generator_rate: float = 1e-4,
    critic_rate: float = 2e-4,
) -> Recipe:
    """`class_weight`: of the class terms in both losses; `flip`: share of the critic's labels that are wrong."""
    objective = FlippedClassification(class_weight=class_weight, flip=flip)
    return Recipe(
        name="lagan",
        model=LAGAN,
        config=config,
        stages=two_rates(objective, steps=steps, generator_rate=generator_rate, critic_rate=critic_rate),
        batch_size=batch_size,
        data="jets",
    )
