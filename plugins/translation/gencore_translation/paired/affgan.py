"""AffGAN (Sonderby, Caballero, Theis, Shi & Huszar 2017, "Amortised MAP Inference for Image Super-resolution",
arXiv:1610.04490).

With A the down-sampling, A+ its pseudo-inverse and f any network, the output is projected on the pictures that shrink
to the given one y:
    G(y) = (1 - A+ A) f(y) + A+ y,   so that A G(y) = y                               (equation 2 and section 3.1)
Then the cross entropy of G's pictures under the data's density is all that is left to lower, and a critic D (a logit)
    critic      E sp(-D(x)) + E sp(D(G(y)))
    generator   -E D(G(y)) = E log((1 - p) / p), p = sigmoid(D)                        (section 3.2, equation 10)
does that without a term for pixels or features. White noise on all that D judges keeps both densities overlapping
(section 3.4). A is separable, rows times columns, so A+ is too, and both are exact: nothing of them is learned.

Deviations: the paper learns A+ as a transposed convolution; a short training through the projection for the least
error first; the noise is not lowered; an average of the generator's weights. Sizes that `scale` does not divide do
not occur, since the given picture is the small one.
"""

from __future__ import annotations

import dataclasses
import functools

import torch
from torch import Tensor, nn

from gencore import Adam, Model, ModelConfig, Paper, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import AdversarialLosses, logistic_critic_loss, mean_score_generator_loss
from gencore.adversarial.objective import generator_average
from gencore.config import check
from gencore.data.toys.degradations import bicubic_matrix, downsample
from gencore.recipes import later_steps

from ..parts.critics import texture_critic
from ..parts.enlarging import check_scale
from ..parts.paired import PairedTranslation, check_pictures, check_positive, fidelity_stage, players
from ..parts.srresnet import SRResNet
from ..parts.views import pairs_or_degraded

SYSTEM = SystemSpec(
    name="affgan",
    summary="A super-resolver whose pictures shrink to the given one exactly, trained by a critic alone",
    paper=Paper(
        title="Amortised MAP Inference for Image Super-resolution",
        authors="Sonderby, Caballero, Theis, Shi & Huszar",
        year=2017,
        arxiv="1610.04490",
    ),
    model="AffGAN",
    recipe="affgan",
    roles=("critic",),
    traits=("translate",),
    claims=("exact-data-parallel",),
    tiny={"data_shape": (3, 16, 16), "crop": 16, "width": 4, "blocks": 1, "critic_width": 4, "game_steps": 4},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AffGANConfig(ModelConfig):
    """`data_shape`: the large pictures' (channels, height, width) in training; any size is enlarged, `scale` times.
    `width` and `blocks`: the residual blocks' channels and number."""

    data_shape: tuple[int, ...] = (3, 32, 32)
    scale: int = 2
    width: int = 24
    blocks: int = 2
    critic_width: int = 32

    def __post_init__(self) -> None:
        check_pictures("data_shape", self.data_shape)
        check_scale(self.scale)
        check_positive(self, "width", "blocks", "critic_width")


@functools.lru_cache(maxsize=8)
def pseudo_inverse(side: int, scale: int) -> Tensor:
    """A+ along one axis, (scale side, side) float64: A' (A A')^-1, since the rows of A are independent."""
    shrink = bicubic_matrix(scale * side, scale)
    return torch.linalg.solve(shrink @ shrink.T, shrink).T


def enlarged(y: Tensor, scale: int) -> Tensor:
    """A+ y: (N, C, H, W) -> (N, C, scale H, scale W), the shortest picture that shrinks to y; not clipped."""
    rows, columns = (pseudo_inverse(side, scale).to(y) for side in y.shape[-2:])
    return rows @ y @ columns.T


def projected(f: Tensor, y: Tensor, scale: int) -> Tensor:
    """(1 - A+ A) f + A+ y, the nearest picture to f (N, C, scale H, scale W) that shrinks to y (N, C, H, W)."""
    return f + enlarged(y - downsample(f, scale), scale)


class ProjectedNet(nn.Module):
    """Small pictures -> the projection of what a network makes of them."""

    def __init__(self, network: nn.Module, scale: int) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    def forward(self, y: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, scale H, scale W), not clipped."""
        return projected(self.network(y), y, self.scale)


class AffGAN(Model):
    """Parts "generator" and "critic"."""

    config_class = AffGANConfig
    config: AffGANConfig

    def __init__(self, config: AffGANConfig) -> None:
        super().__init__(config)
        channels = config.data_shape[0]
        network = SRResNet(channels, scale=config.scale, width=config.width, blocks=config.blocks)
        self.generator = ProjectedNet(network, config.scale)
        self.critic = texture_critic(channels, width=config.critic_width)

    def translate(self, x: Tensor, *, to: str | None = None) -> Tensor:
        """Pictures (N, C, H, W) -> (N, C, scale H, scale W) that shrink to x. They overshoot
        [-1, 1] by a little where x does not allow less."""
        check(to is None, "to", to, "None: affgan has one direction")
        made: Tensor = self.generator(x)
        return made

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Large pictures (N, C, H, W) -> logits of patches, larger for real ones."""
        logits: Tensor = self.critic(x)
        return logits


def affgan(
    *,
    config: AffGANConfig = AffGANConfig(),
    steps: int = 400,
    game_steps: int | None = None,
    batch_size: int = 16,
    crop: int = 24,
    critic_noise: float = 0.1,
    pretraining_rate: float = 1e-3,
    learning_rate: float = 2e-4,
    critic_learning_rate: float = 1e-3,
    ema_decay: float = 0.98,
) -> Recipe:
    """`steps` for the least error, then `game_steps`, None for 15 / 4 as many, against the critic;
    of pictures alone squares of side `crop`."""
    data = pairs_or_degraded(f"downsample:{config.scale}", crop=crop)
    game = PairedTranslation({}, AdversarialLosses(logistic_critic_loss, mean_score_generator_loss), noise=critic_noise)
    betas = (0.5, 0.999)
    phases = players(
        Adam(learning_rate=learning_rate, betas=betas), Adam(learning_rate=critic_learning_rate, betas=betas)
    )
    return Recipe(
        name="affgan",
        model=AffGAN,
        config=config,
        stages=(
            fidelity_stage(steps, learning_rate=pretraining_rate, data=data),
            Stage(name="game", objective=game, phases=phases, steps=later_steps(game_steps, steps, 15 / 4), data=data),
        ),
        batch_size=batch_size,
        data="photos",
        ema=generator_average(ema_decay),
    )
