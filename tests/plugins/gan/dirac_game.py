"""The Dirac-GAN: how far the two players are from their equilibrium while they train."""

from __future__ import annotations

from typing import Any

import gencore
from gencore.data.toys.dirac import dirac


class Radii:
    """A callback that keeps |(theta, psi)| after each iteration; both start at 1."""

    def __init__(self) -> None:
        self.radii: list[float] = []

    def after_step(self, trainer: gencore.Trainer) -> None:
        model: Any = trainer.model
        self.radii.append(float((model.generator.theta.square() + model.critic.psi.square()).sqrt().detach()))


def radius(system: str, *, seed: int = 0, **arguments: Any) -> float:
    """The largest |(theta, psi)| of the last 200 iterations of the system's default training."""
    return played(system, seed=seed, **arguments)[0]


def played(system: str, *, seed: int = 0, **arguments: Any) -> tuple[float, Any]:
    """That, and the trained model."""
    radii, recipe = Radii(), gencore.recipe(system, **arguments)
    model = gencore.Trainer(recipe, dirac(), seed=seed, cpu=True, callbacks=(radii,)).fit()
    return max(radii.radii[-200:]), model
