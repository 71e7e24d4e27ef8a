"""The objective that two-player games share; what differs are the two losses and the penalties.

Phases "critic" and "generator". With x real, z from the model's prior and D the critic's logit or score:
    critic     minimises losses.critic(D(x), D(G(z))) + sum of penalties(D, x, G(z))
    generator  minimises losses.generator(D(G(z)))
Where the model takes a condition, that of the batch goes with x and with G(z).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gencore.adversarial.losses import AdversarialLosses
from gencore.adversarial.penalties import Penalty
from gencore.conditions import of_batch
from gencore.noise import GlobalNoise
from gencore.objective import Loss, Objective
from gencore.optimizers import OptimizerConfig
from gencore.recipes import EMA, Phase, Stage


class Adversarial(Objective):
    """`penalties` differentiate the critic twice, so it is not compiled where there are any.

    `after_critic(model)` follows each step of the critic (weight clipping).

    Logs `real` and `fake`, and what its penalties log.
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

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On as many new examples as batch["x"] has."""
        condition = condition_of(model, batch)
        fake = model.generate(model.draw_prior(GlobalNoise.like(batch["x"])), condition=condition)
        return Loss(self.losses.generator(model.judge(fake, condition=condition).float()))

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"] and as many new examples."""
        real, condition = batch["x"], condition_of(model, batch)
        with torch.no_grad():
            fake = model.generate(model.draw_prior(GlobalNoise.like(real)), condition=condition).to(real.dtype)

        def judge(x: Tensor) -> Tensor:
            return model.judge(x, condition=condition)

        judged_real, judged_fake = judge(real).float(), judge(fake).float()
        total = self.losses.critic(judged_real, judged_fake)
        metrics = {"real": judged_real.mean(), "fake": judged_fake.mean()}
        for penalty in self.penalties:
            term = penalty(judge, real, fake)
            total = total + term.total
            metrics |= term.metrics
        return Loss(total, metrics)

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Apply `after_critic` after the critic's steps."""
        if phase == "critic" and self.after_critic:
            self.after_critic(model)


def condition_of(model: Any, batch: Mapping[str, Tensor]) -> Tensor | None:
    """What the batch holds of the kind that the model is conditioned on; None for an unconditional model.

    Raises GencoreError where the batch lacks it, or holds what does not fit.
    """
    return None if model.condition is None else of_batch(model.condition, batch)


def told_condition(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """`condition_of`, for the objective of a model that has a condition."""
    condition = condition_of(model, batch)
    assert condition is not None
    return condition


def two_players(
    objective: Objective, optimizer: OptimizerConfig, *, steps: int, critic_steps: int = 1
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
