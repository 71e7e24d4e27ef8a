"""Models of a few numbers, on which a step can be worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import gencore
from gencore.data import arrays


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PairConfig(gencore.ModelConfig):
    theta: float = 1.0
    psi: float = 1.0


class Pair(gencore.Model):
    """Two players of one number each."""

    config_class = PairConfig

    def __init__(self, config: PairConfig) -> None:
        super().__init__(config)
        self.generator = nn.ParameterList([torch.tensor([config.theta])])
        self.critic = nn.ParameterList([torch.tensor([config.psi])])

    @property
    def theta(self) -> Tensor:
        return self.generator[0]

    @property
    def psi(self) -> Tensor:
        return self.critic[0]


class Formula(gencore.Objective):
    """An objective given as a function (objective, model, phase, batch) -> scalar."""

    def __init__(self, formula: Callable[..., Tensor], after: Callable[..., None] | None = None) -> None:
        super().__init__()
        self.formula, self.after = formula, after
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def of_phase(self, model: Any, phase: str, batch: Any) -> gencore.Loss:
        total = self.formula(self, model, phase, batch)
        return gencore.Loss(total, {"seen": batch["x"].mean()})

    def after_step(self, model: Any, phase: str, seen: Any) -> None:
        self.calls += 1
        if self.after:
            self.after(self, model, phase)


def _phase_method(name: str) -> Any:
    return lambda self, model, batch: self.of_phase(model, name, batch)


for _name in ("again", "all", "both", "critic", "decoder", "extra", "generator", "layer", "translators", "x"):
    setattr(Formula, _name, _phase_method(_name))


def data(count: int = 64) -> Any:
    """x = 0, 1, 2, ... in one dimension."""
    return arrays(torch.arange(float(count))[:, None])


def recipe(
    formula: Callable[..., Tensor],
    *phases: gencore.Phase,
    steps: int = 1,
    config: PairConfig | None = None,
    after: Callable[..., None] | None = None,
    **options: Any,
) -> gencore.Recipe:
    """One stage of `formula` on a Pair."""
    stage = gencore.Stage(objective=Formula(formula, after), phases=phases, steps=steps)
    return gencore.Recipe(
        name="toy", model=Pair, config=config or PairConfig(), stages=(stage,), batch_size=4, **options
    )


def phase(name: str, learning_rate: float = 0.1, **options: Any) -> gencore.Phase:
    """A phase that steps the part of its own name by plain gradient descent."""
    options.setdefault("parts", (name,))
    return gencore.Phase(name=name, optimizer=gencore.SGD(learning_rate=learning_rate), **options)


def fit(made: gencore.Recipe, **options: Any) -> gencore.Trainer:
    """A trainer that has run."""
    trainer = gencore.Trainer(made, options.pop("source", data()), cpu=True, **options)
    trainer.fit()
    return trainer
