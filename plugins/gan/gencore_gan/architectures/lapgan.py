"""LAPGAN: a pyramid of conditional GANs, each adding the detail that the picture below it lacks (Denton et al. 2015,
"Deep Generative Image Models using a Laplacian Pyramid of Adversarial Networks", arXiv:1506.05751).

With d halving a picture, u doubling it, I_0 the picture at full size and I_(k+1) = d(I_k):
    pyramid    h_k = I_k - u(I_(k+1)), and I_k = u(I_(k+1)) + h_k gives the picture back             (equations 2, 3)
    sampling   I_K = G_K(z_K),   I_k = u(I_(k+1)) + G_k(z_k, u(I_(k+1)))                             (equations 4, 5)
    training   level k by itself: l = u(d(I_k)); the critic sees (l + h, l), h real or G_k(z, l); the coarsest level is
               an ordinary GAN                                                               (section 3.2, Algorithm 1)
Here levels are numbered from the coarsest, 0. Each is a stage of the training, and could run beside the others.

Deviations: d averages 2 x 2 pixels and u repeats them, where the paper blurs: the pyramid is exact as well, and real h
have no part that l could hold. Every level is a multi-layer perceptron, as the paper's coarsest is, for small pictures.
The non-saturating loss; Adam with beta1 = 0.5 where the paper has momentum.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import Adversarial
from gencore.conditions import Image
from gencore.config import check
from gencore.nn.dense import mlp
from gencore.noise import NoiseSource

SYSTEM = SystemSpec(
    name="lapgan",
    summary="A pyramid of GANs, each adding the detail that the coarser picture lacks",
    paper=Paper(
        title="Deep Generative Image Models using a Laplacian Pyramid of Adversarial Networks",
        authors="Denton et al.",
        year=2015,
        arxiv="1506.05751",
    ),
    model="LAPGAN",
    recipe="lapgan",
    roles=("generator", "critic", "sampler"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 4, "width": 16, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LAPGANConfig(ModelConfig):
    """`levels`: how many times the picture is halved. `latent_dim`: numbers in the code of each level. `width`: of the
    hidden layers."""

    data_shape: tuple[int, int, int] = (1, 8, 8)
    levels: int = 1
    latent_dim: int = 8
    width: int = 256

    def __post_init__(self) -> None:
        check(self.levels > 0, "levels", self.levels, "a positive integer")
        fits = min(self.data_shape) > 0 and not any(side % 2**self.levels for side in self.data_shape[1:])
        check(fits, "data_shape", self.data_shape, f"(channels, height, width) that halve {self.levels} times (levels)")
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")
        check(self.width > 1, "width", self.width, "2 or more")

    def shape(self, level: int) -> tuple[int, int, int]:
        """The pictures of a level; 0 is the coarsest."""
        channels, height, width = self.data_shape
        halvings = self.levels - level
        return channels, height >> halvings, width >> halvings


def halved(x: Tensor) -> Tensor:
    """d: pictures (N, C, H, W) -> (N, C, H/2, W/2), means of 2 x 2 pixels."""
    return reduce(x, "n c (h 2) (w 2) -> n c h w", "mean")


def doubled(x: Tensor) -> Tensor:
    """u: pictures (N, C, H, W) -> (N, C, 2H, 2W), each pixel four times."""
    return repeat(x, "n c h w -> n c (h 2) (w 2)")


def normalised_mlp(widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with batch normalisation and ReLU between them, none at the end."""
    layers: list[nn.Module] = []
    for width_in, width_out in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(width_in, width_out, bias=False), nn.BatchNorm1d(width_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class LAPGAN(Model):
    """A generator and a critic for each level."""

    config_class = LAPGANConfig
    config: LAPGANConfig

    def __init__(self, config: LAPGANConfig) -> None:
        super().__init__(config)
        self.generators, self.critics = nn.ModuleList(), nn.ModuleList()
        for level in range(config.levels + 1):
            size, coarse = math.prod(config.shape(level)), math.prod(config.shape(level)) * (level > 0)
            self.generators.append(normalised_mlp((config.latent_dim + coarse, config.width, config.width, size)))
            self.critics.append(mlp((size + coarse, config.width, config.width // 2, 1)))

    def add_detail(self, level: int, z: Tensor, coarse: Tensor | None) -> Tensor:
        """l + G(z, l) for l = `coarse` (N, *shape(level)), and G(z) within [-1, 1] at level 0, where it is None."""
        seen = [z] if coarse is None else [z, coarse.flatten(1)]
        made: Tensor = self.generators[level](torch.cat(seen, 1)).reshape(len(z), *self.config.shape(level))
        return made.tanh() if coarse is None else coarse + made

    def judge_detail(self, level: int, x: Tensor, coarse: Tensor | None) -> Tensor:
        """Pictures of a level and l as in `add_detail` -> (N,) logits."""
        seen = [x.flatten(1)] if coarse is None else [x.flatten(1), coarse.flatten(1)]
        return rearrange(self.critics[level](torch.cat(seen, 1)), "n 1 -> n")

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, (levels + 1) latent_dim), the coarsest level's first -> pictures (N, *data_shape) in [-1, 1]."""
        first, *others = z.chunk(self.config.levels + 1, 1)
        x = self.add_detail(0, first, None)
        for level, code in enumerate(others, 1):
            x = self.add_detail(level, code, doubled(x))
        return x.clamp(-1, 1)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, *data_shape) -> the finest level's logits (N,), larger for real."""
        return self.judge_detail(self.config.levels, x, doubled(halved(x)))

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, (levels + 1) latent_dim)."""
        return noise.normal((self.config.levels + 1) * self.config.latent_dim)


class Level:
    """One level as a GAN by itself, above the coarsest conditioned on the picture l."""

    def __init__(self, model: LAPGAN, level: int) -> None:
        self.model, self.level = model, level
        self.condition = Image(shape=model.config.shape(level)) if level else None

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.model.config.latent_dim)

    def generate(self, z: Tensor, *, condition: Tensor | None) -> Tensor:
        """Pictures of the level."""
        return self.model.add_detail(self.level, z, condition)

    def judge(self, x: Tensor, *, condition: Tensor | None) -> Tensor:
        """Logits (N,)."""
        return self.model.judge_detail(self.level, x, condition)

    def batch(self, x: Tensor) -> dict[str, Tensor]:
        """The level's batch from pictures (N, *data_shape)."""
        for _ in range(self.model.config.levels - self.level):
            x = halved(x)
        return {"x": x, "x_input": doubled(halved(x))} if self.level else {"x": x}


class LevelAdversarial(Adversarial):
    """The game of one level; the others have no part in it."""

    def __init__(self, level: int) -> None:
        super().__init__(non_saturating)
        self.level = level

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On the level's pictures of batch["x"]."""
        level = Level(model, self.level)
        return super().critic(level, level.batch(batch["x"]))

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On the level's pictures of batch["x"]."""
        level = Level(model, self.level)
        return super().generator(level, level.batch(batch["x"]))


def lapgan(
    *,
    config: LAPGANConfig = LAPGANConfig(),
    steps: int = 1500,
    batch_size: int = 64,
    learning_rate: float = 5e-4,
) -> Recipe:
    """`steps`: of each level."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    stages = tuple(
        Stage(
            name=f"level {level}",
            objective=LevelAdversarial(level),
            phases=tuple(
                Phase(name=player, parts=(f"{player}s.{level}",), optimizer=optimizer)
                for player in ("critic", "generator")
            ),
            steps=steps,
        )
        for level in range(config.levels + 1)
    )
    return Recipe(name="lapgan", model=LAPGAN, config=config, stages=stages, batch_size=batch_size)
