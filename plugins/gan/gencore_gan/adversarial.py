"""The objective that every two-player GAN of this family shares; what differs are the two losses and the penalties.

Phases "critic" and "generator". With x real, z ~ N(0, 1) and D the critic's logit or score:
    critic     minimises losses.critic(D(x), D(G(z))) + sum of penalties(D, x, G(z))
    generator  minimises losses.generator(D(G(z)))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from gencore import EMA, Loss, Objective, Phase, Stage
from gencore.optimizers import OptimizerConfig


class AdversarialLosses(NamedTuple):
    """Means over the batch, from (N,) judgements."""

    critic: Callable[[Tensor, Tensor], Tensor]
    """(D(x), D(G(z))) -> scalar."""
    generator: Callable[[Tensor], Tensor]
    """D(G(z)) -> scalar."""


class Penalty(Protocol):
    """A term of the critic's loss that looks at the critic as a function."""

    def __call__(self, judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Loss:
        """The weighted penalty."""
        ...


class Adversarial(Objective):
    """`penalties` differentiate the critic twice, so it is not compiled where there are any.

    `after_critic(model)` follows each step of the critic (weight clipping).
    """

    def __init__(
        self,
        losses: AdversarialLosses,
        *,
        penalties: tuple[Penalty, ...] = (),
        after_critic: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__()
        self.losses, self.penalties, self.after_critic = losses, penalties, after_critic
        self.double_backward = ("critic",) if penalties else ()

    def loss(self, model: Any, phase: str, batch: Mapping[str, Tensor]) -> Loss:
        """The loss of the critic or the generator on batch["x"]."""
        real = batch["x"]
        z = torch.randn(len(real), model.config.latent_dim, device=real.device)
        if phase == "generator":
            return Loss(self.losses.generator(model.judge(model.generate(z)).float()))
        with torch.no_grad():
            fake = model.generate(z).to(real.dtype)
        judged_real, judged_fake = model.judge(real).float(), model.judge(fake).float()
        total = self.losses.critic(judged_real, judged_fake)
        metrics = {"real": judged_real.mean(), "fake": judged_fake.mean()}
        for penalty in self.penalties:
            term = penalty(model.judge, real, fake)
            total = total + term.total
            metrics |= term.metrics
        return Loss(total, metrics)

    def after_step(self, model: Any, phase: str) -> None:
        """Apply `after_critic` after the critic's steps."""
        if phase == "critic" and self.after_critic:
            self.after_critic(model)


def two_players(
    objective: Adversarial, optimizer: OptimizerConfig, *, steps: int, critic_steps: int = 1
) -> tuple[Stage, ...]:
    """One stage of `steps` iterations: `critic_steps` of the critic, then one of the generator."""
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=optimizer, repeats=critic_steps),
        Phase(name="generator", parts=("generator",), optimizer=optimizer),
    )
    return (Stage(objective=objective, phases=phases, steps=steps),)


def generator_average(decay: float) -> tuple[EMA, ...]:
    """The average of the generator's weights that is sampled from; none for a decay of 0."""
    return (EMA(decay=decay, parts=("generator",)),) if decay else ()
