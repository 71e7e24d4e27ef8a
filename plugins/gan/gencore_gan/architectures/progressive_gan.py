"""Progressive growing (Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and
Variation", arXiv:1710.10196).

    growth      training begins at 4 x 4; a new level doubles the size of both networks and is faded in: images and the
                critic's maps are (1 - alpha) of the level below and alpha of the new one, alpha from 0 to 1 over a
                share of the level's steps; real images are faded alike                           (section 2, figure 2)
    critic      E D(G(z)) - E D(x) + 10 E (||grad D|| - 1)^2 + 0.001 E D(x)^2                       (appendix A.1)
    generator  -E D(G(z))
    networks    pixel-wise normalisation and equalised learning rates; the critic sees how much its batch varies
                                                                                                   (sections 3 and 4)
Adam with betas (0, 0.99), begun anew at each level, one critic step, an average of the generator's
weights to sample from (appendix A.1).

Deviations: an average of decay 0.99, for trainings of thousands of steps; as many steps at every level; rate 2e-3,
where the paper has 1e-3: digits in a minute.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from gencore import Adam, Loss, Model, ModelConfig, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import wasserstein
from gencore.adversarial.objective import Adversarial, generator_average
from gencore.adversarial.penalties import Drift, GradientPenalty
from gencore.config import check
from gencore.nn.conv import check_image_shape
from gencore.noise import NoiseSource
from gencore_gan.parts.growing import GrowingCritic, GrowingGenerator, channels_by_level, enlarged

SYSTEM = SystemSpec(
    name="progressive-gan",
    summary="Both networks grow, each new level of resolution faded in",
    paper=Paper(
        title="Progressive Growing of GANs for Improved Quality, Stability, and Variation",
        authors="Karras et al.",
        year=2018,
        arxiv="1710.10196",
    ),
    model="ProgressiveGAN",
    recipe="progressive_gan",
    roles=("generator", "critic", "sampler"),
    claims=("twice-differentiable",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "width": 4, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProgressiveGANConfig(ModelConfig):
    """Square images of 4, 8, 16, ... pixels. `width`: channels at the full size, doubled at each halving, up to 16
    `width`."""

    data_shape: tuple[int, int, int] = (1, 8, 8)
    latent_dim: int = 64
    width: int = 32

    def __post_init__(self) -> None:
        check_image_shape(self.data_shape)
        check(self.data_shape[0] > 0, "data_shape", self.data_shape, "a positive number of channels")
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")
        check(self.width > 0, "width", self.width, "a positive integer")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels by level, from 4 x 4."""
        return channels_by_level(self.data_shape[1], self.width)


class ProgressiveGAN(Model):
    """Networks of every level; `level` is the largest that is in use, and `alpha` its share. New ones are full-grown.

    Below the last level, images are enlarged to the data's shape, and made smaller before they are judged.
    """

    config_class = ProgressiveGANConfig
    config: ProgressiveGANConfig

    def __init__(self, config: ProgressiveGANConfig) -> None:
        super().__init__(config)
        self.generator = GrowingGenerator(config.latent_dim, config.channels, config.data_shape[0])
        self.critic = GrowingCritic(config.channels, config.data_shape[0])
        self.level: Tensor
        self.alpha: Tensor
        self.register_buffer("level", torch.tensor(len(config.channels) - 1))
        self.register_buffer("alpha", torch.ones(()))

    def reduced(self, x: Tensor) -> Tensor:
        """Images (N, *data_shape) at the size of the level in use, by averages."""
        excess = len(self.config.channels) - 1 - int(self.level)
        return avg_pool2d(x, 2**excess) if excess else x

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> images (N, *data_shape) in [-1, 1]."""
        images = self.generator(z, int(self.level), self.alpha).clamp(-1, 1)
        return interpolate(images, self.config.data_shape[1:])

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape) -> (N,) scores, larger for real."""
        return self.critic(self.reduced(x), int(self.level), self.alpha)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)


class AtLevel:
    """The model at the size of its level: what trains."""

    condition = None

    def __init__(self, model: ProgressiveGAN) -> None:
        self.model, self.level, self.alpha = model, int(model.level), model.alpha
        self.draw_prior = model.draw_prior

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images of the level."""
        return self.model.generator(z, self.level, self.alpha)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Scores of the level's images."""
        return self.model.critic(x, self.level, self.alpha)

    def batch(self, x: Tensor) -> dict[str, Tensor]:
        """Real images (N, *data_shape) at the level's size, as far faded in as the networks."""
        x = self.model.reduced(x)
        return {"x": torch.lerp(enlarged(avg_pool2d(x, 2)), x, self.alpha.to(x.dtype)) if self.level else x}


class Growing(Adversarial):
    """The Wasserstein game of one level; `steps_done` counts the generator's and moves the model's alpha."""

    def __init__(self, *, gradient_penalty: float, drift: float, fade_steps: int) -> None:
        super().__init__(wasserstein, penalties=(GradientPenalty(weight=gradient_penalty), Drift(weight=drift)))
        self.fade_steps = fade_steps
        self.steps_done: Tensor
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.int64))

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On the level's images of batch["x"]."""
        at_level = AtLevel(model)
        return super().critic(at_level, at_level.batch(batch["x"]))

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On as many new images of the level."""
        return super().generator(AtLevel(model), batch)

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Fade the level in."""
        if phase == "generator":
            self.steps_done += 1
            if int(model.level):
                model.alpha.copy_((self.steps_done / max(self.fade_steps, 1)).clamp(max=1.0))


def grow(model: Any, level: int) -> None:
    """Put a level to use, at alpha 0; the first is there at once."""
    model.level.fill_(level)
    model.alpha.fill_(0.0 if level else 1.0)


def parts_at(player: str, level: int) -> tuple[str, ...]:
    """What a player uses at a level, while it is faded in."""
    fixed, image = ("start", "to_image") if player == "generator" else ("end", "from_image")
    used = [fixed, *(f"blocks.{k}" for k in range(level)), *(f"{image}.{k}" for k in (level - 1, level) if k >= 0)]
    return tuple(f"{player}.{name}" for name in used)


def progressive_gan(
    *,
    config: ProgressiveGANConfig = ProgressiveGANConfig(),
    steps: int = 1000,
    batch_size: int = 16,
    fade_share: float = 0.5,
    gradient_penalty: float = 10.0,
    drift: float = 0.001,
    learning_rate: float = 2e-3,
    ema_decay: float = 0.99,
) -> Recipe:
    """`steps`: of each level. `fade_share`: of them, while alpha goes from 0 to 1."""
    check(0 <= fade_share <= 1, "fade_share", fade_share, "a number in [0, 1]")
    optimizer = Adam(learning_rate=learning_rate, betas=(0.0, 0.99))

    def stage(level: int) -> Stage:
        players = ("critic", "generator")
        return Stage(
            name=f"{4 * 2**level} x {4 * 2**level}",
            objective=Growing(gradient_penalty=gradient_penalty, drift=drift, fade_steps=round(fade_share * steps)),
            phases=tuple(Phase(name=p, parts=parts_at(p, level), optimizer=optimizer) for p in players),
            steps=steps,
            begin=lambda model: grow(model, level),
        )

    return Recipe(
        name="progressive-gan",
        model=ProgressiveGAN,
        config=config,
        stages=tuple(stage(level) for level in range(len(config.channels))),
        batch_size=batch_size,
        ema=generator_average(ema_decay),
    )
