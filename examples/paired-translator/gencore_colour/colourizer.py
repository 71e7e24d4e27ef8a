"""A small paired translator after pix2pix (Isola et al. 2017, arXiv:1611.07004): colour from grey, or any such pair.

    critic      E sp(-D(c, x)) + E sp(D(c, G(c)))
    generator   E sp(-D(c, G(c))) + l1_weight E |x - G(c)|
with c the given picture, x its target and sp(u) = log(1 + exp(u)). G is a U-Net of two levels, D judges patches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.conditions import Condition, Image, of_batch
from gencore.config import check

SYSTEM = SystemSpec(
    name="colourizer",
    summary="A small U-Net that learns from pairs of pictures, against a critic of patches",
    paper=Paper(
        title="Image-to-Image Translation with Conditional Adversarial Networks",
        authors="Isola, Zhu, Zhou & Efros",
        year=2017,
        arxiv="1611.07004",
    ),
    model="Colourizer",
    recipe="colourizer",
    roles=("critic",),
    traits=("translate",),
    claims=("compiles",),
    tiny={"width": 4, "batch_size": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ColourizerConfig(ModelConfig):
    """`data_shape`: of the target, sides multiples of 2. `condition`: the picture that is given. `width`: channels."""

    data_shape: tuple[int, int, int] = (3, 16, 16)
    condition: Image = Image(shape=(3, 16, 16))
    width: int = 32

    def __post_init__(self) -> None:
        even = min(self.data_shape) > 0 and all(side % 2 == 0 for side in self.data_shape[1:])
        check(even, "data_shape", self.data_shape, "(channels, height, width), the sides even")
        same = self.condition.shape[1:] == self.data_shape[1:]
        check(same, "condition", self.condition.shape, f"a picture of the target's size, {self.data_shape[1:]}")
        check(self.width > 0, "width", self.width, "a positive integer")


def conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution and LeakyReLU."""
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, stride, 1), nn.LeakyReLU(0.2, inplace=True))


class UNet(nn.Module):
    """Two levels: the given picture's size, and half of it; the upper level is handed over beside the lower one."""

    def __init__(self, config: ColourizerConfig) -> None:
        super().__init__()
        width = config.width
        self.above, self.below = conv(config.condition.shape[0], width), conv(width, 2 * width, 2)
        self.middle, self.up = conv(2 * width, 2 * width), nn.ConvTranspose2d(2 * width, width, 4, 2, 1)
        self.output = nn.Sequential(conv(2 * width, width), nn.Conv2d(width, config.data_shape[0], 3, 1, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W) in [-1, 1]."""
        above = self.above(x)
        return self.output(torch.cat([above, self.up(self.middle(self.below(above)))], 1))


class Colourizer(Model):
    """`generator` and `critic`."""

    config_class = ColourizerConfig
    config: ColourizerConfig
    regions = ("generator", "critic")

    def __init__(self, config: ColourizerConfig) -> None:
        super().__init__(config)
        self.generator = UNet(config)
        seen = config.condition.shape[0] + config.data_shape[0]
        self.critic = nn.Sequential(
            conv(seen, config.width, 2), conv(config.width, config.width), nn.Conv2d(config.width, 1, 3, 1, 1)
        )

    @property
    def condition(self) -> Condition:
        """The given picture."""
        return self.config.condition

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Given pictures (N, C, H, W) -> their translations (N, C', H, W) in [-1, 1]."""
        check(to is None, "to", to, "None: there is one direction")
        return self.generator(x)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures x with those that they were made from -> logits of patches, larger for real ones."""
        assert condition is not None
        return self.critic(torch.cat([condition, x], 1))


class PairedGame(Objective):
    """Phases "critic" and "generator".

    Logs `real` and `fake`, `game`, and `l1`: mean absolute error, of a range of 2; lower is better.
    """

    def __init__(self, l1_weight: float) -> None:
        super().__init__()
        check(l1_weight >= 0, "l1_weight", l1_weight, "0 or more")
        self.l1_weight = l1_weight

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Targets against translations, each beside what was given."""
        given = of_batch(model.condition, batch)
        with torch.no_grad():
            made = model.translate(given)
        real, fake = model.judge(batch["x"], condition=given), model.judge(made, condition=given)
        return Loss(non_saturating.critic(real, fake), {"real": real.mean(), "fake": fake.mean()})

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The game, and the mean absolute error."""
        given = of_batch(model.condition, batch)
        made = model.translate(given)
        error = (made - batch["x"]).abs().mean()
        game = non_saturating.generator(model.judge(made, condition=given))
        return Loss(game + self.l1_weight * error, {"game": game, "l1": error})


def colourizer(
    *,
    config: ColourizerConfig = ColourizerConfig(),
    steps: int = 2000,
    batch_size: int = 16,
    l1_weight: float = 100.0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """Pairs of pictures: --data paired:DIR, or the toy `scenes`, whose layouts become pictures."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=optimizer),
        Phase(name="generator", parts=("generator",), optimizer=optimizer),
    )
    stage = Stage(objective=PairedGame(l1_weight), phases=phases, steps=steps)
    return Recipe(
        name="colourizer", model=Colourizer, config=config, stages=(stage,), batch_size=batch_size, data="scenes"
    )
