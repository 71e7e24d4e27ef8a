"""The objective of all pages that learn from pairs: terms against the target, and a game.

Phases "generator" and "critic". With c the given picture (x_input), x its target and G the translator:
    generator  sum of weight x term(G(c), x) + game_weight x the game's loss of D(G(c))
    critic     critic_weight x the game's loss of D(x) and D(G(c))
`sees_input`: D judges a picture beside c. `noise`: white noise of this size on all that D judges (Sonderby et al. 2017,
arXiv:1610.04490, section 3.4); it keeps small critics from being fooled by stripes one pixel wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore.adversarial.losses import AdversarialLosses
from gencore.config import check
from gencore.errors import GencoreError
from gencore.objective import Loss, Objective
from gencore.optimizers import Adam, OptimizerConfig
from gencore.recipes import Phase, Stage

from .terms import weighted_sum

Distance = Callable[[Tensor, Tensor], Tensor]
"""(made, target), both (N, C, H, W) -> scalar."""


class RelativisticLosses(NamedTuple):
    """A game in which each player's loss compares D(x) and D(G(c)): scalars from (N, ...) logits of both."""

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]


class PairedTranslation(Objective):
    """`terms`: by name, the weight and the distance. `losses` None: no game, and no phase "critic".

    Logs `real` and `fake`, `game`, and each term by its name, without its weight, as `l1` or `mse`: distance of made
    from wanted pictures; lower is better. `features`: that distance in a network's features; lower is better.
    """

    def __init__(
        self,
        terms: Mapping[str, tuple[float, Distance]],
        losses: AdversarialLosses | RelativisticLosses | None = None,
        *,
        game_weight: float = 1.0,
        critic_weight: float = 1.0,
        sees_input: bool = False,
        noise: float = 0.0,
        after_critic: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__()
        for name, weight in (*((f"{n}_weight", w) for n, (w, _) in terms.items()), ("game_weight", game_weight)):
            check(weight >= 0, name, weight, "0 or more")
        check(noise >= 0, "critic_noise", noise, "0 or more")
        self.weights = {name: weight for name, (weight, _) in terms.items()}
        self.distances = nn.ModuleDict({n: d for n, (_, d) in terms.items() if isinstance(d, nn.Module)})
        self.functions = {n: d for n, (_, d) in terms.items() if not isinstance(d, nn.Module)}
        self.losses, self.game_weight, self.critic_weight = losses, game_weight, critic_weight
        self.sees_input, self.noise, self.after_critic = sees_input, noise, after_critic

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x_input"] and batch["x"]; the log has each term without its weight."""
        given, target = pair(batch)
        made = model.generator(given)
        check_target(made, target)
        terms = {name: (w, self._distance(name)(made, target)) for name, w in self.weights.items() if w}
        if self.losses is not None and self.game_weight:
            terms["game"] = (self.game_weight, self._fooled(model, given, made, target))
        return weighted_sum(terms)

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"] and what is made of batch["x_input"]."""
        assert self.losses is not None
        given, target = pair(batch)
        with torch.no_grad():
            made = model.generator(given)
        real, fake = self._judged(model, given, target), self._judged(model, given, made)
        loss = self.critic_weight * self.losses.critic(real, fake)
        return Loss(loss, {"real": real.detach().mean(), "fake": fake.detach().mean()})

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Apply `after_critic` after the critic's steps."""
        if phase == "critic" and self.after_critic:
            self.after_critic(model)

    def _distance(self, name: str) -> Distance:
        return self.functions[name] if name in self.functions else self.distances[name]

    def _judged(self, model: Any, given: Tensor, picture: Tensor) -> Tensor:
        if self.noise:
            picture = picture + self.noise * torch.randn_like(picture)
        judged: Tensor = model.judge(picture, condition=given) if self.sees_input else model.judge(picture)
        return judged.float()

    def _fooled(self, model: Any, given: Tensor, made: Tensor, target: Tensor) -> Tensor:
        fake = self._judged(model, given, made)
        if isinstance(self.losses, RelativisticLosses):
            with torch.no_grad():
                real = self._judged(model, given, target)
            return self.losses.generator(real, fake)
        assert self.losses is not None
        return self.losses.generator(fake)


def pair(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The batch's x_input and x. Raises GencoreError where there is no x_input."""
    if "x_input" not in batch:
        raise GencoreError(
            f"The batch has the keys {sorted(batch)}; expected x and x_input: pairs of pictures (--data paired:DIR), "
            "or a degradation of the recipe."
        )
    return batch["x_input"], batch["x"]


def check_target(made: Tensor, target: Tensor) -> None:
    """Raise GencoreError unless both have one shape."""
    if made.shape != target.shape:
        raise GencoreError(
            f"The model makes pictures of {tuple(made.shape[1:])} from the pairs' inputs, but their targets are "
            f"{tuple(target.shape[1:])}. Take pairs that fit, or change the model's scale or shapes."
        )


def fidelity_stage(steps: int, *, learning_rate: float, data: Callable[[Any, Any], Any]) -> Stage:
    """The generator alone, for the least mean squared error, with a cosine schedule."""
    phase = Phase(
        name="generator",
        parts=("generator",),
        optimizer=Adam(learning_rate=learning_rate),
        schedule=cosine(steps),
    )
    objective = PairedTranslation({"mse": (1.0, F.mse_loss)})
    return Stage(name="fidelity", objective=objective, phases=(phase,), steps=steps, data=data)


def check_positive(config: object, *names: str) -> None:
    """Raise GencoreError unless these fields of a config are positive."""
    for name in names:
        check(getattr(config, name) > 0, name, getattr(config, name), "a positive number")


def check_pictures(name: str, shape: tuple[int, ...]) -> None:
    """Raise GencoreError unless `shape` is (C, H, W), all positive."""
    check(len(shape) == 3 and min(shape) > 0, name, shape, "(channels, height, width)")


def cosine(steps: int) -> Callable[[int], float]:
    """The factor on the learning rate that falls from 1 to 0 over `steps` iterations."""
    return lambda step: 0.5 * (1 + math.cos(math.pi * min(step, steps) / max(1, steps)))


def players(
    generator: OptimizerConfig, critic: OptimizerConfig, schedule: Callable[[int], float] | None = None
) -> tuple[Phase, ...]:
    """A step of the critic, then one of the generator."""
    return (
        Phase(name="critic", parts=("critic",), optimizer=critic, schedule=schedule),
        Phase(name="generator", parts=("generator",), optimizer=generator, schedule=schedule),
    )
