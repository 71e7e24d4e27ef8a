"""Two players of a learning rate each."""

from __future__ import annotations

from typing import Any

import torch

from gencore import Adam, Loss, Objective
from gencore_gan.parts.two_rates import two_rates


class Nothing(Objective):
    """Two phases that cost nothing."""

    def critic(self, model: Any, batch: Any) -> Loss:
        return Loss(torch.zeros(()))

    def generator(self, model: Any, batch: Any) -> Loss:
        return Loss(torch.zeros(()))


def test_each_player_has_its_rate_and_the_critic_its_gate() -> None:
    """The critic steps first; the view of the data belongs to the stage."""
    objective = Nothing()
    (stage,) = two_rates(
        objective,
        steps=7,
        generator_rate=1e-3,
        critic_rate=1e-4,
        critic_gate=lambda given: given is not objective,
        data=lambda source, model: (source, model),
    )
    critic, generator = stage.phases
    assert (stage.steps, stage.objective) == (7, objective)
    assert stage.data is not None
    assert stage.data(1, 2) == (1, 2)
    assert [phase.parts for phase in stage.phases] == [("critic",), ("generator",)]
    assert critic.optimizer == Adam(learning_rate=1e-4, betas=(0.5, 0.999))
    assert generator.optimizer == Adam(learning_rate=1e-3, betas=(0.5, 0.999))
    assert critic.gate is not None
    assert not critic.gate(objective)
    assert generator.gate is None
