"""CC-GAN (Denton, Gross & Fergus 2016, "Semi-Supervised Learning with Context-Conditional Generative Adversarial
Networks", arXiv:1611.06430).

G fills a hole of x from what is round it, m being 1 in the hole; the context stays to the bit:
    x_I = (1 - m) x + m G(m, (1 - m) x)                                                          (equation 2)
    critic      CE(y | x) on the labelled + E sp(-D(x)) + E sp(D(x_I)) on all images              (equations 3 and 4)
    generator   E sp(-D(x_I))
The critic's trunk serves both heads: to tell whether a filling belongs to its context it must learn what things are,
and that is what few labels then name.

Deviations: the variant with wholly generated images (CC-GAN2) is not here; the hole's side is half the image's; small
convolutional networks with dropout in the critic's trunk and no batch normalisation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from gencore import Loss, Model, ModelConfig, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.config import check
from gencore.nn.conv import check_image_shape, conv_decoder, conv_encoder
from gencore.noise import GlobalNoise, NoiseSource
from gencore_gan.parts.semi_supervised import NamingAndGame, semi_supervised_recipe

SYSTEM = SystemSpec(
    name="ccgan",
    summary="Filling holes and judging the fillings teaches a critic what few labels then name",
    paper=Paper(
        title="Semi-Supervised Learning with Context-Conditional Generative Adversarial Networks",
        authors="Denton et al.",
        year=2016,
        arxiv="1611.06430",
    ),
    model="CCGAN",
    recipe="ccgan",
    roles=("critic",),
    traits=("classify", "translate"),
    claims=("compiles", "twice-differentiable"),
    tiny={"width": 4, "batch_size": 8, "num_labels": 10},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CCGANConfig(ModelConfig):
    """Square images of 8, 16, 32, ... pixels. `width`: channels at half the image's size; `code_dim`: numbers that the
    generator makes of a context; `dropout`: of the critic's features, in training."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    num_classes: int = 10
    width: int = 32
    code_dim: int = 128
    dropout: float = 0.3

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2: data with labels")
        check(self.width > 0, "width", self.width, "a positive integer")
        check(self.code_dim > 0, "code_dim", self.code_dim, "a positive integer")
        check(0 <= self.dropout < 1, "dropout", self.dropout, "a share in [0, 1)")

    @property
    def hole(self) -> int:
        """The side of the hole, in pixels."""
        return self.data_shape[1] // 2


class CCGAN(Model):
    """`generator` fills holes; `critic` has a trunk and two heads, "real" and "classes"."""

    config_class = CCGANConfig
    config: CCGANConfig
    regions = ("generator",)

    def __init__(self, config: CCGANConfig) -> None:
        super().__init__(config)
        channels, size, _ = config.data_shape
        shape = (channels + 1, size, size)
        encoder = conv_encoder(shape, width=config.width, outputs=config.code_dim)
        decoder = conv_decoder(config.data_shape, width=config.width, inputs=config.code_dim)
        self.generator = nn.Sequential(encoder, nn.LeakyReLU(0.2), decoder)
        features = 4 * config.width
        levels = conv_encoder(config.data_shape, width=config.width, outputs=features)
        trunk = nn.Sequential(*list(levels)[:-1], nn.Dropout(config.dropout), levels[-1], nn.LeakyReLU(0.2))
        trunk.append(nn.Dropout(config.dropout))
        self.critic = nn.ModuleDict(
            {"trunk": trunk, "real": nn.Linear(features, 1), "classes": nn.Linear(features, config.num_classes)}
        )

    def fill(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (N, *data_shape), mask (N, 1, H, W) of 0 and 1 -> x with what is under 1 made anew, unseen."""
        context = (1 - mask) * x
        made = self.generator(torch.cat([context, mask], 1))[:, 0].tanh()
        return context + mask * made

    def translate(self, x: Tensor, *, to: Any = None) -> Tensor:
        """x (N, *data_shape) with the square in its middle filled anew. There is no choice of `to`."""
        check(to is None, "to", to, "None: there is one way to fill the hole")
        start = torch.full((len(x), 2), (self.config.data_shape[1] - self.config.hole) // 2, device=x.device)
        return self.fill(x, square_masks(start, self.config.data_shape[1], self.config.hole))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) logits, larger for images without a filling."""
        return rearrange(self.critic["real"](self.critic["trunk"](x)), "n 1 -> n")

    def class_logits(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> (N, num_classes)."""
        return self.critic["classes"](self.critic["trunk"](x))

    def classify(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> the likeliest class of each, (N,) int64."""
        return self.class_logits(x).argmax(1)


def square_masks(start: Tensor, size: int, side: int) -> Tensor:
    """(N, 1, size, size): 1 in a square whose upper left corner is at `start` (N, 2), row and column."""
    places = torch.arange(size, device=start.device)
    inside = (places >= start[:, :, None]) & (places < start[:, :, None] + side)
    return (inside[:, 0, :, None] & inside[:, 1, None, :]).float()[:, None]


def random_masks(model: Any, noise: NoiseSource) -> Tensor:
    """A hole at a random place for each stream of noise."""
    size, side = model.config.data_shape[1], model.config.hole
    return square_masks(noise.integers(size - side + 1, 2), size, side)


class ContextConditional(NamingAndGame):
    """The game is of whole images and filled ones."""

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Classes of the labelled; whole images against filled ones."""
        x = batch["x_unlabelled"]
        with torch.no_grad():
            filled = model.fill(x, random_masks(model, GlobalNoise.like(x)))
        return self.named_and(non_saturating.critic(model.judge(x), model.judge(filled)), model, batch)

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Fillings that pass for whole images."""
        x = batch["x_unlabelled"]
        return Loss(non_saturating.generator(model.judge(model.fill(x, random_masks(model, GlobalNoise.like(x))))))


def ccgan(
    *,
    config: CCGANConfig = CCGANConfig(),
    steps: int = 3000,
    batch_size: int = 64,
    num_labels: int = 100,
    unlabelled_weight: float = 1.0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`num_labels` examples, equally many of each class, keep their labels."""
    objective = ContextConditional(unlabelled_weight=unlabelled_weight)
    return semi_supervised_recipe(
        "ccgan",
        CCGAN,
        config,
        objective,
        steps=steps,
        batch_size=batch_size,
        num_labels=num_labels,
        learning_rate=learning_rate,
    )
