"""Two players of a learning rate each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gencore import Adam, Objective, Phase, Stage


def two_rates(
    objective: Objective,
    *,
    steps: int,
    generator_rate: float,
    critic_rate: float,
    critic_gate: Callable[[Any], bool] | None = None,
    data: Callable[[Any, Any], Any] | None = None,
) -> tuple[Stage, ...]:
    """One stage of `steps` iterations, the critic, then the generator, by Adam with beta1 = 0.5. The critic rests where
    `critic_gate(objective)` is false; `data` is the stage's view of the source."""
    generator, critic = (Adam(learning_rate=rate, betas=(0.5, 0.999)) for rate in (generator_rate, critic_rate))
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=critic, gate=critic_gate),
        Phase(name="generator", parts=("generator",), optimizer=generator),
    )
    return (Stage(objective=objective, phases=phases, steps=steps, data=data),)
