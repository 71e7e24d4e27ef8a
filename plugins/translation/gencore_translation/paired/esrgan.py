"""ESRGAN (Wang et al. 2018, "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", arXiv:1809.00219).

SRGAN with a network of residual-in-residual dense blocks, a relativistic average critic, and features before the
rectifiers. With C the critic's output, c the given picture, s the sigmoid, and
    D(a, b) = s(C(a) - E C(b))
    critic      -E log D(x, G(c)) - E log(1 - D(G(c), x))                                         (equation 1)
    generator   -E log(1 - D(x, G(c))) - E log D(G(c), x)                                         (equation 2)
    generator   feature_weight |F(x) - F(G(c))|^2 + game_weight (that) + l1_weight E |x - G(c)|   (equation 3)
after a training for fidelity alone, and network interpolation between the two (equation 4):
    theta = (1 - t) theta_fidelity + t theta_game

Deviations: mean squared error for the first stage, where the paper has L1; l1_weight 0.1 and game_weight 2e-2, where
the paper has 1e-2 and 5e-3 beside VGG features; a small network of fixed features; a critic of patches of 11 pixels
with white noise on what it judges; an average of the generator's weights; the bicubic picture is added to what the
network makes (`skip` False is the paper's).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from gencore import Adam, Model, ModelConfig, Paper, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import logistic_critic_loss
from gencore.adversarial.objective import generator_average
from gencore.config import check
from gencore.errors import GencoreError
from gencore.recipes import later_steps
from gencore.tiling import Tiling

from ..parts.critics import texture_critic
from ..parts.paired import (
    PairedTranslation,
    RelativisticLosses,
    check_pictures,
    check_positive,
    fidelity_stage,
    players,
)
from ..parts.perceptual import PerceptualDistance
from ..parts.rrdb import RRDBNet
from ..parts.rrdb_files import published_rrdb
from ..parts.views import pairs_or_degraded

SYSTEM = SystemSpec(
    name="esrgan",
    summary="Super-resolution by dense blocks in residual blocks, against a relativistic critic",
    paper=Paper(
        title="ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks",
        authors="Wang et al.",
        year=2018,
        arxiv="1809.00219",
    ),
    model="ESRGAN",
    recipe="esrgan",
    roles=("critic",),
    traits=("translate",),
    claims=("compiles",),
    tiny={
        "data_shape": (3, 16, 16),
        "crop": 16,
        "width": 4,
        "growth": 2,
        "blocks": 1,
        "critic_width": 4,
        "game_steps": 4,
    },
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ESRGANConfig(ModelConfig):
    """`data_shape`: the large pictures' (channels, height, width) in training; any size is enlarged, `scale` (1, 2, 4)
    times. `width`, `growth` and `blocks`: channels, channels of a dense block's layers, and number of the RRDBs; the
    paper has 64, 32 and 23. `skip`: add the bicubic picture, which short trainings need and the paper does without."""

    data_shape: tuple[int, ...] = (3, 32, 32)
    scale: int = 2
    width: int = 24
    growth: int = 8
    blocks: int = 2
    skip: bool = True
    critic_width: int = 32

    def __post_init__(self) -> None:
        check_pictures("data_shape", self.data_shape)
        check(self.scale in (1, 2, 4), "scale", self.scale, "1, 2 or 4")
        check_positive(self, "width", "growth", "blocks", "critic_width")


class ESRGAN(Model):
    """Parts "generator" and "critic"."""

    config_class = ESRGANConfig
    config: ESRGANConfig
    regions = ("generator",)

    def __init__(self, config: ESRGANConfig) -> None:
        super().__init__(config)
        self.generator = RRDBNet(
            config.data_shape[0],
            scale=config.scale,
            width=config.width,
            growth=config.growth,
            blocks=config.blocks,
            skip=config.skip,
        )
        self.critic = texture_critic(config.data_shape[0], width=config.critic_width)

    @property
    def tiling(self) -> Tiling:
        """How a picture may be cut (gencore.tiling)."""
        return self.generator.tiling

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> (N, C, scale H, scale W) in [-1, 1]."""
        check(to is None, "to", to, "None: esrgan has one direction")
        return self.generator(x).clamp(-1, 1)

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor]) -> ESRGAN:
        """The model of a checkpoint of Real-ESRGAN, BasicSR or ESRGAN. These hold no critic that fits: ours is new.

        Raises GencoreError for a key too many, too few, or of another shape.
        """
        file = published_rrdb(tensors)
        config = ESRGANConfig(
            data_shape=(file.channels, 128, 128),
            scale=file.scale,
            width=file.width,
            growth=file.growth,
            blocks=file.blocks,
            skip=False,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = cls(config)
        try:
            model.generator.load_state_dict(file.tensors)
        except RuntimeError as error:
            raise GencoreError(f"The checkpoint does not fit an RRDB network: {error}") from error
        return model.eval()

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Large pictures (N, C, H, W) -> outputs of patches, larger for more real ones."""
        outputs: Tensor = self.critic(x)
        return outputs


def relativistic_critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Equation 1 from the critic's outputs (N, ...) of both; 2 log 2 where it cannot tell."""
    return logistic_critic_loss(real - fake.mean(), fake - real.mean())


def relativistic_generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Equation 2: the critic's loss with the two exchanged."""
    return relativistic_critic_loss(fake, real)


def interpolated(fidelity: ESRGAN, game: ESRGAN, t: float) -> ESRGAN:
    """The model whose weights are (1 - t) fidelity + t game (equation 4), t in [0, 1]; either one, to the bit, at the
    ends. Raises GencoreError for models of different configs."""
    check(0 <= t <= 1, "t", t, "a number in [0, 1]")
    if fidelity.config != game.config:
        raise GencoreError(f"The models' configs differ: {fidelity.config} and {game.config}.")
    between = copy.deepcopy(fidelity)
    wanted = game.state_dict()
    between.load_state_dict({name: torch.lerp(value, wanted[name], t) for name, value in fidelity.state_dict().items()})
    return between


def esrgan(
    *,
    config: ESRGANConfig = ESRGANConfig(),
    steps: int = 1000,
    game_steps: int | None = None,
    batch_size: int = 16,
    crop: int = 24,
    feature_weight: float = 1.0,
    l1_weight: float = 0.1,
    game_weight: float = 2e-2,
    critic_noise: float = 0.05,
    pretraining_rate: float = 1e-3,
    learning_rate: float = 3e-4,
    critic_learning_rate: float = 1e-3,
    ema_decay: float = 0.98,
) -> Recipe:
    """`steps` for fidelity, then `game_steps`, None for 4 / 5 as many, against the critic (0 leaves the
    model that `interpolated` takes first); of pictures alone squares of side `crop`."""
    data = pairs_or_degraded(f"downsample:{config.scale}", crop=crop)
    game = PairedTranslation(
        {"features": (feature_weight, PerceptualDistance()), "l1": (l1_weight, F.l1_loss)},
        RelativisticLosses(relativistic_critic_loss, relativistic_generator_loss),
        game_weight=game_weight,
        noise=critic_noise,
    )
    phases = players(
        Adam(learning_rate=learning_rate, betas=(0.9, 0.99)),
        Adam(learning_rate=critic_learning_rate, betas=(0.5, 0.99)),
    )
    return Recipe(
        name="esrgan",
        model=ESRGAN,
        config=config,
        stages=(
            fidelity_stage(steps, learning_rate=pretraining_rate, data=data),
            Stage(name="game", objective=game, phases=phases, steps=later_steps(game_steps, steps, 4 / 5), data=data),
        ),
        batch_size=batch_size,
        data="photos",
        ema=generator_average(ema_decay),
    )
