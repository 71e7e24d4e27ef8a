"""A critic regularised as if its examples were noisy (Roth et al. 2017, "Stabilizing Training of Generative Adversarial
Networks through Regularization", arXiv:1705.09367, Algorithm 1).

With D the critic's logit, s the sigmoid and sp(u) = log(1 + exp(u)):
    critic     E_x sp(-D(x)) + E_z sp(D(G(z)))
               + gamma / 2 { E_x (1 - s(D(x)))^2 ||grad D(x)||^2 + E_z s(D(G(z)))^2 ||grad D(G(z))||^2 }
                                                                                            (equations 20 and 21)
    generator  E_z sp(-D(G(z)))                                                             (Algorithm 1)
gamma_t = gamma remaining^(t / steps): the authors' program anneals gamma from 2 to a hundredth of it, the default; the
paper also has 0.1 and fixed (gamma = 0.1, remaining = 1).

The gradient also flows through the factors (1 - s(D))^2 and s(D)^2, as in the authors' program.

Deviations: without a name of data it plays the Dirac-GAN (gencore_gan.parts.players), with gradient descent; images go
through small networks without batch normalisation, since the penalty is on each input's own gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gencore import Loss, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import Adversarial, two_players
from gencore.adversarial.penalties import Judge, Roth
from gencore.config import check
from gencore_gan.parts.players import PlayersConfig, PlayersGAN, data_of, optimizer_of

SYSTEM = SystemSpec(
    name="roth-gan",
    summary="The critic's slope is penalised where it is unsure: noise on the examples, integrated out",
    paper=Paper(
        title="Stabilizing Training of Generative Adversarial Networks through Regularization",
        authors="Roth et al.",
        year=2017,
        arxiv="1705.09367",
    ),
    model="PlayersGAN",
    recipe="roth_gan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "width": 8, "batch_size": 8},
)


def annealed(remaining: float, progress: Tensor) -> Tensor:
    """remaining^progress: from 1 at progress 0 to `remaining` at 1, where it stays."""
    return remaining ** progress.clamp(max=1.0)


class RothAdversarial(Adversarial):
    """The non-saturating game with the annealed penalty; `steps_done` counts the critic's."""

    def __init__(self, *, gamma: float, remaining: float, steps: int) -> None:
        check(gamma >= 0, "gamma", gamma, "0 or more")
        check(0 < remaining <= 1, "remaining", remaining, "a number in (0, 1]")
        super().__init__(non_saturating, penalties=(self.penalty,))
        self.roth, self.remaining, self.steps = Roth(weight=gamma), remaining, steps
        self.steps_done: Tensor
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.int64))

    def penalty(self, judge: Judge, real: Tensor, fake: Tensor) -> Loss:
        """The penalty of this step."""
        loss = self.roth(judge, real, fake)
        return loss._replace(total=annealed(self.remaining, self.steps_done / max(self.steps, 1)) * loss.total)

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Count the critic's steps."""
        self.steps_done += phase == "critic"


def roth_gan(
    *,
    config: PlayersConfig = PlayersConfig(),
    steps: int = 1500,
    batch_size: int = 64,
    gamma: float = 2.0,
    remaining: float = 0.01,
    learning_rate: float | None = None,
) -> Recipe:
    """`remaining`: the share of gamma that is left at the end; 1 keeps it fixed."""
    objective = RothAdversarial(gamma=gamma, remaining=remaining, steps=steps)
    return Recipe(
        name="roth-gan",
        model=PlayersGAN,
        config=config,
        stages=two_players(objective, optimizer_of(config, learning_rate), steps=steps),
        batch_size=batch_size,
        data=data_of(config),
    )
