"""A recipe: a model, how its parts are trained, and the published hyper-parameters, under one name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import nn

from gencore.config import ModelConfig, check
from gencore.errors import GencoreError
from gencore.model import Model, parameters_of
from gencore.objective import Objective, check_phase
from gencore.optimizers import Adam, OptimizerConfig


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Who is trained, how and how often.

    An iteration walks the stage's phases in order. It draws max(repeats) batches, and the r-th repeat of every phase
    sees the r-th of them: VAE/GAN's three losses share one batch, WGAN's critic sees five. A phase's step changes
    the parameters of `parts` alone, to the bit.
    """

    name: str
    """The objective's method that computes its loss."""
    parts: tuple[str, ...]
    """Attribute paths in the model, such as "critic" or "critic.trunk". Parts may belong to several phases."""
    optimizer: OptimizerConfig = dataclasses.field(default_factory=Adam)
    repeats: int = 1
    """Steps an iteration (the k critic steps of a GAN)."""
    every: int = 1
    """Take part in every n-th iteration only (lazy regularisation)."""
    gate: Callable[[Any], bool] | None = None
    """(objective) -> whether the phase takes part in an iteration (VAE/GAN's equilibrium). Reads the objective's
    buffers, which must be equal on all processes."""
    joint: bool = False
    """Let gradients flow through every part of the model, though only `parts` are stepped (consensus optimisation,
    unrolled GANs)."""
    max_gradient_norm: float | None = None
    schedule: Callable[[int], float] | None = None
    """Iteration of the stage, from 0 -> factor on the learning rate."""

    def __post_init__(self) -> None:
        check(bool(self.name), "Phase.name", self.name, "a name")
        check(bool(self.parts), f"parts of phase {self.name!r}", self.parts, "at least one attribute path")
        check(self.repeats >= 1, f"repeats of phase {self.name!r}", self.repeats, "at least 1")
        check(self.every >= 1, f"every of phase {self.name!r}", self.every, "at least 1")
        limit = self.max_gradient_norm
        check(limit is None or limit > 0, f"max_gradient_norm of phase {self.name!r}", limit, "a positive number")


def later_steps(given: int | None, steps: int, share: float) -> int:
    """The steps of a stage after the first, which has `steps`: as many as are given, or `share` times as many, rounded,
    so that one number makes a whole training shorter or longer."""
    return round(share * steps) if given is None else given


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of a training with its own objective: VQ-VAE's autoencoder, then its prior; ProGAN's resolutions."""

    objective: Objective
    phases: tuple[Phase, ...]
    steps: int
    """Iterations."""
    name: str = "training"
    data: Callable[[Any, Any], Any] | None = None
    """(source, model as it stands) -> the source of this stage (gencore.data): resized, re-weighted, paired."""
    begin: Callable[[Any], None] | None = None
    """Called with the model when the stage begins, and again before a resume inside it, to grow the model;
    deterministic."""
    frozen: tuple[str, ...] = ()
    """Parts in evaluation mode during this stage, and without gradients."""

    def __post_init__(self) -> None:
        check(self.steps >= 0, f"steps of stage {self.name!r}", self.steps, "0 or more")
        names = [phase.name for phase in self.phases]
        check(bool(names), f"phases of stage {self.name!r}", names, "at least one")
        check(len(set(names)) == len(names), f"phases of stage {self.name!r}", names, "different names")
        for name in names:
            check_phase(self.objective, name)


def own_parameters(model: Model, stage: Stage, phase: Phase) -> list[nn.Parameter]:
    """What `phase` steps: its parts' parameters, but those of the stage's frozen parts.

    Raises GencoreError where nothing is left.
    """
    frozen = set(parameters_of(model, stage.frozen))
    own = [parameter for parameter in parameters_of(model, phase.parts) if parameter not in frozen]
    if not own:
        raise GencoreError(
            f"Phase {phase.name!r} of stage {stage.name!r} has no parameter to step: its parts are {phase.parts}, "
            f"frozen are {stage.frozen}."
        )
    return own


def reached_parameters(model: Model, stage: Stage, phase: Phase) -> list[nn.Parameter]:
    """What gets a gradient in `phase`: its own parameters; in a joint phase all but the frozen ones."""
    everything = dataclasses.replace(phase, parts=("",))
    return own_parameters(model, stage, everything if phase.joint else phase)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EMA:
    """An exponential moving average of `parts`' parameters, updated after every iteration. Early on its half-life is
    shorter than the configured one (gencore.training.ema)."""

    decay: float
    parts: tuple[str, ...] = ("",)
    """Attribute paths; "" is the whole model."""
    name: str = "ema"

    def __post_init__(self) -> None:
        check(0 <= self.decay < 1, f"decay of EMA {self.name!r}", self.decay, "a number in [0, 1)")

    @classmethod
    def half_life(cls, steps: float, *, parts: tuple[str, ...] = ("",), name: str = "ema") -> EMA:
        """An average in which a parameter's weight halves every `steps` iterations."""
        check(steps > 0, "half_life", steps, "a positive number of iterations")
        return cls(decay=0.5 ** (1 / steps), parts=parts, name=name)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that `Trainer` needs, but the data themselves."""

    name: str
    model: type[Model]
    config: ModelConfig
    stages: tuple[Stage, ...]
    batch_size: int = 64
    """Examples a batch, on each process."""
    data: str = "digits"
    """What to train on where the user names nothing (gencore.data.open_source)."""
    ema: tuple[EMA, ...] = ()
    """The first is what is sampled from and published."""

    def __post_init__(self) -> None:
        if not isinstance(self.config, self.model.config_class):
            raise GencoreError(
                f"Recipe {self.name!r}: {self.model.__name__} takes a {self.model.config_class.__name__}, "
                f"received a {type(self.config).__name__}."
            )
        check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        check(bool(self.stages), "stages", self.stages, "at least one stage")
        names = [average.name for average in self.ema]
        check(len(set(names)) == len(names), "names of ema", names, "different names")
