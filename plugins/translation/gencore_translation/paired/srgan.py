"""SRGAN (Ledig et al. 2017, "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network",
arXiv:1609.04802).

A residual network G enlarges a picture c: first trained for E (x - G(c))^2 alone (section 2.2: SRResNet), then with D's
logit against
    critic      E sp(-D(x)) + E sp(D(G(c)))                                        (equation 2, as logits)
    generator   mse_weight E (x - G(c))^2 + feature_weight |F(x) - F(G(c))|^2 + game_weight E sp(-D(G(c)))
                                                                                    (equations 3, 4, 5 and 6)
The paper's content term is one of the two: pixels (SRGAN-MSE) or VGG features (SRGAN-VGG54); game_weight is its 1e-3.

Deviations, of which all but the first are what lets a small critic work, as measured: pixels by default and
game_weight 2e-2, since at 1e-3 a small critic changes nothing; a critic of patches of 11 pixels; white noise on what it
judges, without which the generator learns stripes one pixel wide; pixel shuffles that start with equal pixels; an
average of the generator's weights; no batch normalisation (left out by ESRGAN as well), mirrored borders, and the
bicubic picture added to what the network makes.
"""

from __future__ import annotations

import dataclasses

import torch.nn.functional as F
from torch import Tensor

from gencore import Adam, Model, ModelConfig, Paper, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import generator_average
from gencore.config import check
from gencore.recipes import later_steps
from gencore.tiling import Tiling

from ..parts.critics import texture_critic
from ..parts.enlarging import check_scale
from ..parts.paired import PairedTranslation, check_pictures, check_positive, fidelity_stage, players
from ..parts.perceptual import PerceptualDistance
from ..parts.srresnet import SRResNet
from ..parts.views import pairs_or_degraded

SYSTEM = SystemSpec(
    name="srgan",
    summary="A residual network enlarges pictures: first for the least error, then against a critic",
    paper=Paper(
        title="Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network",
        authors="Ledig et al.",
        year=2017,
        arxiv="1609.04802",
    ),
    model="SRGAN",
    recipe="srgan",
    roles=("critic",),
    traits=("translate",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (3, 16, 16), "crop": 16, "width": 4, "blocks": 1, "critic_width": 4, "game_steps": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SRGANConfig(ModelConfig):
    """`data_shape`: the large pictures' (channels, height, width) in training; any size is enlarged, `scale` times.
    `width` and `blocks`: the residual blocks' channels and number; the paper has 64 and 16."""

    data_shape: tuple[int, ...] = (3, 32, 32)
    scale: int = 2
    width: int = 24
    blocks: int = 2
    critic_width: int = 32

    def __post_init__(self) -> None:
        check_pictures("data_shape", self.data_shape)
        check_scale(self.scale)
        check_positive(self, "width", "blocks", "critic_width")


class SRGAN(Model):
    """Parts "generator" and "critic"."""

    config_class = SRGANConfig
    config: SRGANConfig
    regions = ("generator",)

    def __init__(self, config: SRGANConfig) -> None:
        super().__init__(config)
        channels = config.data_shape[0]
        self.generator = SRResNet(channels, scale=config.scale, width=config.width, blocks=config.blocks)
        self.critic = texture_critic(channels, width=config.critic_width)

    @property
    def tiling(self) -> Tiling:
        """How a picture may be cut (gencore.tiling)."""
        return self.generator.tiling

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> (N, C, scale H, scale W) in [-1, 1]."""
        check(to is None, "to", to, "None: srgan has one direction")
        return self.generator(x).clamp(-1, 1)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Large pictures (N, C, H, W) -> logits of patches, larger for real ones."""
        logits: Tensor = self.critic(x)
        return logits


def srgan(
    *,
    config: SRGANConfig = SRGANConfig(),
    steps: int = 1000,
    game_steps: int | None = None,
    batch_size: int = 16,
    crop: int = 24,
    mse_weight: float = 1.0,
    feature_weight: float = 0.0,
    game_weight: float = 2e-2,
    critic_noise: float = 0.1,
    pretraining_rate: float = 1e-3,
    learning_rate: float = 3e-4,
    critic_learning_rate: float = 1e-3,
    ema_decay: float = 0.98,
) -> Recipe:
    """`steps` for the least error, then `game_steps`, None for 3 / 2 as many, against the critic;
    of pictures alone squares of side `crop`."""
    data = pairs_or_degraded(f"downsample:{config.scale}", crop=crop)
    game = PairedTranslation(
        {"mse": (mse_weight, F.mse_loss), "features": (feature_weight, PerceptualDistance())},
        non_saturating,
        game_weight=game_weight,
        noise=critic_noise,
    )
    phases = players(
        Adam(learning_rate=learning_rate, betas=(0.9, 0.99)),
        Adam(learning_rate=critic_learning_rate, betas=(0.5, 0.99)),
    )
    return Recipe(
        name="srgan",
        model=SRGAN,
        config=config,
        stages=(
            fidelity_stage(steps, learning_rate=pretraining_rate, data=data),
            Stage(name="game", objective=game, phases=phases, steps=later_steps(game_steps, steps, 3 / 2), data=data),
        ),
        batch_size=batch_size,
        data="photos",
        ema=generator_average(ema_decay),
    )
