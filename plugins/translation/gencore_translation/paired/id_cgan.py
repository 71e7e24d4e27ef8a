"""ID-CGAN (Zhang, Sindagi & Patel 2019, "Image De-raining Using a Conditional Generative Adversarial Network",
arXiv:1701.05957).

A translator G takes the rain off a picture c, against a critic D (a logit) that sees the pair:
    critic      E sp(-D(c, x)) + E sp(D(c, G(c)))
    generator   mse_weight E (x - G(c))^2 + game_weight E sp(-D(c, G(c))) + feature_weight |F(x) - F(G(c))|^2
with the weights 1, 6.6e-3 and 1 (equations 4 to 7), F features of VGG.

Deviations: G predicts the difference from c, by a residual network with one halving, where the paper has a dense one;
a small network of fixed features, each place's divided by their length, with weight 0.1: undivided, at 1, they drown
the pixels and streaks stay. A critic of one field; the paper's multi-scale one joins several. At this size the critic
at 6.6e-3 changes nothing that could be measured.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore import Adam, Model, ModelConfig, Paper, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.config import check
from gencore.errors import GencoreError
from gencore.tiling import Tiling

from ..parts.critics import texture_critic
from ..parts.paired import PairedTranslation, check_pictures, check_positive, cosine, players
from ..parts.perceptual import PerceptualDistance
from ..parts.resnet import ResNetTranslator
from ..parts.views import pairs_or_degraded

SYSTEM = SystemSpec(
    name="id-cgan",
    summary="Takes rain off pictures: squared error, features, and a critic that sees the pair",
    paper=Paper(
        title="Image De-raining Using a Conditional Generative Adversarial Network",
        authors="Zhang, Sindagi & Patel",
        year=2019,
        arxiv="1701.05957",
    ),
    model="IDCGAN",
    recipe="id_cgan",
    roles=("critic",),
    traits=("translate",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (3, 16, 16), "crop": 16, "width": 4, "blocks": 1, "critic_width": 4, "batch_size": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IDCGANConfig(ModelConfig):
    """`data_shape`: the pictures' (channels, height, width) in training; any size is translated. `width` and `blocks`:
    channels at full size and number of the residual blocks, which stand at half the size."""

    data_shape: tuple[int, ...] = (3, 32, 32)
    width: int = 16
    blocks: int = 3
    critic_width: int = 16

    def __post_init__(self) -> None:
        check_pictures("data_shape", self.data_shape)
        check_positive(self, "width", "blocks", "critic_width")


class Difference(nn.Module):
    """x + what a network makes of x."""

    def __init__(self, network: ResNetTranslator) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) to the same shape, not clipped."""
        return x + self.network(x)


class IDCGAN(Model):
    """Parts "generator" and "critic"."""

    config_class = IDCGANConfig
    config: IDCGANConfig
    regions = ("generator", "critic")

    def __init__(self, config: IDCGANConfig) -> None:
        super().__init__(config)
        channels = config.data_shape[0]
        network = ResNetTranslator(
            channels, channels, width=config.width, blocks=config.blocks, halvings=1, norm="none"
        )
        self.generator = Difference(network)
        self.critic = texture_critic(2 * channels, width=config.critic_width)

    @property
    def tiling(self) -> Tiling | None:
        """How a picture may be cut (gencore.tiling)."""
        return self.generator.network.tiling

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Rainy pictures (N, C, H, W) -> clean ones of the same shape, in [-1, 1]."""
        check(to is None, "to", to, "None: id-cgan has one direction")
        return self.generator(x).clamp(-1, 1)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures x (N, C, H, W) with the rainy ones that they were made from -> logits of patches."""
        if condition is None or condition.shape != x.shape:
            got = None if condition is None else tuple(condition.shape)
            raise GencoreError(f"condition is {got}; expected the rainy pictures, of shape {tuple(x.shape)}.")
        logits: Tensor = self.critic(torch.cat([condition, x], 1))
        return logits


def id_cgan(
    *,
    config: IDCGANConfig = IDCGANConfig(),
    steps: int = 1500,
    batch_size: int = 12,
    crop: int = 24,
    density: float = 0.06,
    mse_weight: float = 1.0,
    feature_weight: float = 0.1,
    game_weight: float = 6.6e-3,
    learning_rate: float = 3e-3,
    critic_learning_rate: float = 1e-3,
) -> Recipe:
    """Pairs, or pictures alone: of these squares of side `crop` are cut and rained on, `density` drops a pixel."""
    objective = PairedTranslation(
        {
            "mse": (mse_weight, F.mse_loss),
            "features": (feature_weight, PerceptualDistance(normalised=True)),
        },
        non_saturating,
        game_weight=game_weight,
        sees_input=True,
    )
    check(density > 0, "density", density, "a positive number of drops a pixel")
    phases = players(
        Adam(learning_rate=learning_rate),
        Adam(learning_rate=critic_learning_rate, betas=(0.5, 0.999)),
        schedule=cosine(steps),
    )
    data = pairs_or_degraded(f"rain:{density}", crop=crop)
    stage = Stage(objective=objective, phases=phases, steps=steps, data=data)
    return Recipe(name="id-cgan", model=IDCGAN, config=config, stages=(stage,), batch_size=batch_size, data="photos")
