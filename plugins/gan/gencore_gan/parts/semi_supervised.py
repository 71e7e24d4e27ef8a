"""What semi-supervised GANs share: a critic that is a classifier of K classes, and a few labels beside many images.

The critic is that of Salimans et al. 2016 (arXiv:1606.03498) for MNIST: Gaussian noise before every layer, weights
normalised (Salimans & Kingma 2016, arXiv:1602.07868).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.parametrizations import weight_norm

from gencore import Adam, Loss, Model, ModelConfig, Objective, Recipe
from gencore.adversarial.objective import two_players
from gencore.config import check
from gencore.data import labelled_and_unlabelled
from gencore.data.by_class import few_labels
from gencore.noise import NoiseSource
from gencore_gan.parts.networks import DenseGANConfig, dense_generator


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyingGANConfig(ModelConfig):
    """`hidden`: widths of both networks. `first_noise` is added to the critic's data, `layer_noise` before each further
    layer, both standard deviations, in training only. `output`: as DenseGANConfig's."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    num_classes: int = 10
    latent_dim: int = 32
    hidden: tuple[int, ...] = (256, 256)
    output: Literal["tanh", "linear", "auto"] = "auto"
    first_noise: float = 0.3
    layer_noise: float = 0.5

    def __post_init__(self) -> None:
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2: data with labels")
        check(self.first_noise >= 0, "first_noise", self.first_noise, "0 or more")
        check(self.layer_noise >= 0, "layer_noise", self.layer_noise, "0 or more")
        assert self.generator.data_shape == self.data_shape

    @property
    def generator(self) -> DenseGANConfig:
        """The generator's part of it."""
        return DenseGANConfig(
            data_shape=self.data_shape, latent_dim=self.latent_dim, hidden=self.hidden, output=self.output
        )


class GaussianNoise(nn.Module):
    """Adds normal noise of a standard deviation, in training only."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x + self.std * torch.randn_like(x) if self.training and self.std else x


class NoisyClassifier(nn.Module):
    """`trunk` gives features (N, hidden[-1]), `head` K logits."""

    def __init__(self, config: ClassifyingGANConfig) -> None:
        super().__init__()
        widths = (math.prod(config.data_shape), *config.hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for place, (width_in, width_out) in enumerate(itertools.pairwise(widths)):
            layers += [GaussianNoise(config.layer_noise if place else config.first_noise)]
            layers += [weight_norm(nn.Linear(width_in, width_out)), nn.LeakyReLU(0.2)]
        self.trunk = nn.Sequential(*layers)
        self.noise = GaussianNoise(config.layer_noise)
        self.head = weight_norm(nn.Linear(widths[-1], config.num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> logits (N, num_classes)."""
        return self.head(self.noise(self.trunk(x)))


class ClassifyingGAN(Model):
    """Base: an unconditional generator, and a critic of K logits."""

    config_class = ClassifyingGANConfig
    config: ClassifyingGANConfig
    regions = ("generator",)

    def __init__(self, config: ClassifyingGANConfig) -> None:
        super().__init__(config)
        self.generator = self.make_generator(config.generator)
        self.critic = NoisyClassifier(config)

    @staticmethod
    def make_generator(config: DenseGANConfig) -> nn.Module:
        """z (N, latent_dim) -> data, flattened."""
        return dense_generator(config)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> data (N, *data_shape), of no class in particular."""
        return self.generator(z).reshape(len(z), *self.config.data_shape)

    def class_logits(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> (N, num_classes)."""
        return self.critic(x)

    def classify(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> the likeliest class of each, (N,) int64."""
        return self.class_logits(x).argmax(1)


def few(num_classes: int, count: int, batch_size: int) -> Callable[[Any, Any], Any]:
    """A stage's view of a labelled source: `count` examples keep their labels, evenly of every class; x_unlabelled
    are all."""

    def view(source: Any, model: Any) -> Any:
        return labelled_and_unlabelled(source, few_labels(source, num_classes, count, batch_size))

    return view


class NamingAndGame(Objective):
    """Base of phases "critic" and "generator" on x, label (few) and x_unlabelled. `unlabelled_weight`: of the game in
    the critic's loss; with 0 it learns from the labels alone.

    Logs `named` and `game`.
    """

    def __init__(self, *, unlabelled_weight: float) -> None:
        super().__init__()
        check(unlabelled_weight >= 0, "unlabelled_weight", unlabelled_weight, "0 or more")
        self.unlabelled_weight = unlabelled_weight

    def named_and(self, game: Tensor, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The critic's loss: the classes of the labelled, and its game on the unlabelled."""
        named = cross_entropy(model.class_logits(batch["x"]), batch["label"])
        return Loss(named + self.unlabelled_weight * game, {"named": named, "game": game})


def semi_supervised_recipe(
    name: str,
    model: type[Model],
    config: Any,
    objective: Objective,
    *,
    steps: int,
    batch_size: int,
    num_labels: int,
    learning_rate: float,
) -> Recipe:
    """Critic, then generator, on few labelled and all unlabelled examples."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    (stage,) = two_players(objective, optimizer, steps=steps)
    stage = dataclasses.replace(stage, data=few(config.num_classes, num_labels, batch_size))
    return Recipe(name=name, model=model, config=config, stages=(stage,), batch_size=batch_size)
