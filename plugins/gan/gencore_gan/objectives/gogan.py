"""GoGAN: each stage's generator must beat the one before it (Juefei-Xu, Boddeti & Savvides 2017, "Gang of GANs:
Generative Adversarial Networks with Maximum Margin Ranking", arXiv:1704.04865).

With D the critic's score, G the stage's generator, G' that of the stage before, and m the margin:
    critic, stage 1       E [m + D(G(z)) - D(x)]+                                            (margin loss of WGAN)
    critic, later stages  E [m + D(G(z)) - D(x)]+ + E [2 m + D(G'(z)) - D(x)]+              (ranking loss)
    generator            -E_z D(G(z))
so that the scores come to stand in the order x > G > G'. One batch of x and one of z serve both terms.

The paper is silent on the margins of later stages, on the weights of the two terms and on how a stage begins. Ours:
margins m and 2 m, equal weights; a generator begins as a copy of the one before it, which is then frozen; the critic
goes on. Deviations: a gradient penalty (arXiv:1704.00028) keeps the scores' scale, where the paper clips weights; fully
connected networks; Adam where the paper has RMSProp.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import relu

from gencore import Adam, Loss, Model, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import mean_score_generator_loss
from gencore.adversarial.penalties import GradientPenalty
from gencore.config import check
from gencore.nn.dense import mlp
from gencore.noise import GlobalNoise, NoiseSource
from gencore_gan.parts.networks import DenseGANConfig, dense_generator

SYSTEM = SystemSpec(
    name="gogan",
    summary="In stages, each generator ranked above the one before it",
    paper=Paper(
        title="Gang of GANs: Generative Adversarial Networks with Maximum Margin Ranking",
        authors="Juefei-Xu, Boddeti & Savvides",
        year=2017,
        arxiv="1704.04865",
    ),
    model="GoGAN",
    recipe="gogan",
    roles=("generator", "critic", "sampler"),
    claims=("twice-differentiable",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "hidden": (32,), "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GoGANConfig(DenseGANConfig):
    """`num_stages`: generators, one after the other."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    output: Literal["tanh", "linear", "auto"] = "auto"
    num_stages: int = 2

    def __post_init__(self) -> None:
        DenseGANConfig.__post_init__(self)
        check(self.num_stages > 0, "num_stages", self.num_stages, "a positive integer")


class GoGAN(Model):
    """One critic, and a generator for each stage; the buffer `stage` says which one generates."""

    config_class = GoGANConfig
    config: GoGANConfig
    stage: Tensor

    def __init__(self, config: GoGANConfig) -> None:
        super().__init__(config)
        self.generators = nn.ModuleList(dense_generator(config) for _ in range(config.num_stages))
        self.critic = mlp((math.prod(config.data_shape), *config.hidden, 1))
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> data (N, *data_shape), of the stage's generator."""
        return self.generate_of(int(self.stage), z)

    def generate_of(self, stage: int, z: Tensor) -> Tensor:
        """The same, of stage `stage`, from 0."""
        return self.generators[stage](z).reshape(len(z), *self.config.data_shape)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) scores, larger for real."""
        return rearrange(self.critic(x.flatten(1)), "n 1 -> n")

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)


@torch.no_grad()
def begin_stage(model: GoGAN, *, stage: int) -> None:
    """Stage `stage` generates, beginning as a copy of the one before it."""
    model.stage.fill_(stage)
    if stage:
        model.generators[stage].load_state_dict(model.generators[stage - 1].state_dict())


def rank_loss(better: Tensor, worse: Tensor, margin: float) -> Tensor:
    """E [margin + D(worse) - D(better)]+ from scores (N,); 0 where all are in order by the margin."""
    return relu(margin + worse - better).mean()


class Ranking(Objective):
    """Phases "critic" and "generator" of one stage, from 0.

    Logs what its penalty logs.
    """

    double_backward = ("critic",)

    def __init__(self, *, stage: int, margin: float, gradient_penalty: float) -> None:
        super().__init__()
        check(margin > 0, "margin", margin, "a positive number")
        check(gradient_penalty >= 0, "gradient_penalty", gradient_penalty, "0 or more")
        self.stage, self.margin = stage, margin
        self.penalty = GradientPenalty(weight=gradient_penalty)

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real above generated and, in later stages, above what the stage before generates."""
        real = batch["x"]
        with torch.no_grad():
            z = model.draw_prior(GlobalNoise.like(real))
            fake = model.generate_of(self.stage, z)
            older = model.generate_of(self.stage - 1, z) if self.stage else None
        judged = model.judge(real)
        penalty = self.penalty(model.judge, real, fake)
        total = rank_loss(judged, model.judge(fake), self.margin) + penalty.total
        if older is not None:
            total = total + rank_loss(judged, model.judge(older), 2 * self.margin)
        return Loss(total, penalty.metrics)

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On as many new examples as batch["x"] has."""
        z = model.draw_prior(GlobalNoise.like(batch["x"]))
        return Loss(mean_score_generator_loss(model.judge(model.generate_of(self.stage, z))))


def gogan(
    *,
    config: GoGANConfig = GoGANConfig(),
    steps: int = 1000,
    batch_size: int = 64,
    margin: float = 1.0,
    gradient_penalty: float = 10.0,
    critic_steps: int = 2,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`steps` are those of each stage."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.0, 0.9))
    stages = tuple(
        Stage(
            name=f"stage-{stage + 1}",
            objective=Ranking(stage=stage, margin=margin, gradient_penalty=gradient_penalty),
            phases=(
                Phase(name="critic", parts=("critic",), optimizer=optimizer, repeats=critic_steps),
                Phase(name="generator", parts=(f"generators.{stage}",), optimizer=optimizer),
            ),
            steps=steps,
            begin=functools.partial(begin_stage, stage=stage),
        )
        for stage in range(config.num_stages)
    )
    return Recipe(name="gogan", model=GoGAN, config=config, stages=stages, batch_size=batch_size)
