"""AL-CGAN (Karacan, Akata, Erdem & Erdem 2016, "Learning to Generate Images of Outdoor Scenes from Attributes and
Semantic Layouts", arXiv:1612.00215).

With s the layout (a map a kind of thing), a the attributes of the weather and D the logit:
    critic      E sp(-D(x, s, a)) + E sp(D(G(z, s, a), s, a))
    generator   E sp(-D(G(z, s, a), s, a))                                                        (non-saturating)
The generator sees s, and a and z as constant maps, at its input and again before its last layer. The critic is
Siamese: a branch for the picture and one for the condition, joined where both are small.

Deviations: two levels where the paper has nine layers; how the Siamese branches are joined is not in the paper, here
their maps are put beside each other. z changes nothing in training at this size, as in every plain conditional game
of pictures. Attributes and layout are both conditions; the layout travels as x_input, the attributes as `attributes`,
and `translate(layout, to=attributes)` draws both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from einops import repeat
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import two_players
from gencore.conditions import Attributes
from gencore.config import check
from gencore.errors import GencoreError
from gencore.noise import GlobalNoise, NoiseSource

SYSTEM = SystemSpec(
    name="al-cgan",
    summary="Outdoor scenes from a layout and the weather, against a critic with a branch for each",
    paper=Paper(
        title="Learning to Generate Images of Outdoor Scenes from Attributes and Semantic Layouts",
        authors="Karacan, Akata, Erdem & Erdem",
        year=2016,
        arxiv="1612.00215",
    ),
    model="ALCGAN",
    recipe="al_cgan",
    roles=(),
    traits=("translate",),
    tiny={"width": 4, "latent_dim": 2, "batch_size": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ALCGANConfig(ModelConfig):
    """`input_shape`: the layout's maps. `attributes`: the weather's names. `width`: channels at the picture's size."""

    data_shape: tuple[int, ...] = (3, 16, 16)
    input_shape: tuple[int, ...] = (3, 16, 16)
    attributes: tuple[str, ...] = ("night", "fog", "snow")
    latent_dim: int = 4
    width: int = 32

    def __post_init__(self) -> None:
        for name in ("data_shape", "input_shape"):
            shape = getattr(self, name)
            even = len(shape) == 3 and min(shape) > 0 and shape[1] % 2 == shape[2] % 2 == 0
            check(even, name, shape, "(channels, height, width), the sides even")
        check(bool(self.attributes), "attributes", self.attributes, "at least one name")
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")
        check(self.width > 0, "width", self.width, "a positive integer")
        same = self.input_shape[1:] == self.data_shape[1:]
        check(same, "input_shape", self.input_shape, f"layouts of the picture's size, {self.data_shape[1:]}")

    @property
    def told(self) -> int:
        """Maps of layout and attributes."""
        return self.input_shape[0] + len(self.attributes)


def conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    """A convolution, 4 x 4 where it halves the size, and LeakyReLU."""
    kernel = 4 if stride == 2 else 3
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, kernel, stride, 1), nn.LeakyReLU(0.2, inplace=True))


class Painter(nn.Module):
    """Down by half and up again; the condition stands beside the last layer's input, too."""

    def __init__(self, config: ALCGANConfig) -> None:
        super().__init__()
        width = config.width
        self.down = nn.Sequential(conv(config.told + config.latent_dim, width), conv(width, 2 * width, 2))
        self.middle = conv(2 * width, 2 * width)
        self.up = nn.Sequential(nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True))
        self.last = nn.Sequential(nn.Conv2d(width + config.told, config.data_shape[0], 3, 1, 1), nn.Tanh())

    def forward(self, told: Tensor, z: Tensor) -> Tensor:
        """Condition maps (N, told, H, W), z (N, latent_dim) -> pictures (N, C, H, W)."""
        noise = repeat(z, "n d -> n d h w", h=told.shape[2], w=told.shape[3])
        made = self.up(self.middle(self.down(torch.cat([told, noise], 1))))
        painted: Tensor = self.last(torch.cat([made, told], 1))
        return painted


class SiameseCritic(nn.Module):
    """A branch for the picture, a branch for the condition, and what judges both."""

    def __init__(self, config: ALCGANConfig) -> None:
        super().__init__()
        width, (_, height, across) = config.width, config.data_shape
        self.picture = nn.Sequential(conv(config.data_shape[0], width), conv(width, 2 * width, 2))
        self.told = nn.Sequential(conv(config.told, width), conv(width, 2 * width, 2))
        grid = (height // 4) * (across // 4)
        self.joined = nn.Sequential(
            conv(4 * width, 2 * width, 2), nn.Flatten(), nn.Linear(2 * width * grid, 1), nn.Flatten(0)
        )

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Pictures (N, C, H, W), condition maps (N, told, H, W) -> logits (N,)."""
        judged: Tensor = self.joined(torch.cat([self.picture(x), self.told(told)], 1))
        return judged


class ALCGAN(Model):
    """`generator` and `critic`; both take the condition as maps."""

    config_class = ALCGANConfig
    config: ALCGANConfig

    def __init__(self, config: ALCGANConfig) -> None:
        super().__init__(config)
        self.generator = Painter(config)
        self.critic = SiameseCritic(config)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def maps(self, layout: Tensor, attributes: Tensor) -> Tensor:
        """Layouts (N, C, H, W), attributes (N, count) in [0, 1] -> condition maps (N, told, H, W)."""
        constant = repeat(attributes, "n k -> n k h w", h=layout.shape[2], w=layout.shape[3])
        return torch.cat([layout, constant], 1)

    def default_sampler(self) -> Any:
        """Raises GencoreError: a scene needs a layout."""
        raise GencoreError("This model draws a scene of a layout: give one (translate(layout, to=attributes)).")

    def translate(self, x: Tensor, *, to: Any = None) -> Tensor:
        """Layouts (N, C, H, W) -> scenes (N, C', H, W) in the weather `to`: numbers in [0, 1] by name in words such as
        "night=1,fog=0.5", a row for all, or one for each; None is fair weather by day. z is 0."""
        kind = Attributes(names=self.config.attributes)
        given = (
            torch.zeros(len(self.config.attributes)) if to is None else kind.parse(to) if isinstance(to, str) else to
        )
        attributes = kind.check(given, len(x)).to(x.device)
        painted: Tensor = self.generator(self.maps(x, attributes), x.new_zeros(len(x), self.config.latent_dim))
        return painted


class SceneGame(Objective):
    """Phases "critic" and "generator". `critic_sees`: whether the critic sees the condition; without it the game says
    nothing of layout and weather.

    Logs `real` and `fake`.
    """

    def __init__(self, *, critic_sees: bool) -> None:
        super().__init__()
        self.critic_sees = critic_sees

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Painted scenes look real beside what was asked for."""
        told = self._told(model, batch)
        painted = model.generator(told, model.draw_prior(GlobalNoise.like(batch["x"])))
        return Loss(non_saturating.generator(model.critic(painted, self._shown(told))))

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real scenes against painted ones, each beside its condition."""
        x, told = batch["x"], self._told(model, batch)
        with torch.no_grad():
            painted = model.generator(told, model.draw_prior(GlobalNoise.like(x)))
        real, fake = model.critic(x, self._shown(told)), model.critic(painted, self._shown(told))
        return Loss(non_saturating.critic(real, fake), {"real": real.mean(), "fake": fake.mean()})

    def _shown(self, told: Tensor) -> Tensor:
        return told if self.critic_sees else torch.zeros_like(told)

    def _told(self, model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        if missing := [key for key in ("x_input", "attributes") if key not in batch]:
            raise GencoreError(f"The batch has no {missing}: a scene needs its layout and its attributes.")
        told: Tensor = model.maps(batch["x_input"], batch["attributes"])
        return told


def al_cgan(
    *,
    config: ALCGANConfig = ALCGANConfig(),
    steps: int = 1500,
    batch_size: int = 32,
    critic_sees: bool = True,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`critic_sees`: False is the twin whose critic knows neither layout nor weather."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    return Recipe(
        name="al-cgan",
        model=ALCGAN,
        config=config,
        stages=two_players(SceneGame(critic_sees=critic_sees), optimizer, steps=steps),
        batch_size=batch_size,
        data="scenes",
    )
