"""What a training holds in memory and what its processes exchange, worked out from a model without values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from gencore.config import check
from gencore.model import Model, parameters_of
from gencore.recipes import Phase, Recipe, Stage, own_parameters, reached_parameters
from gencore.training.sharding import gathered_at_once

USED_MAP_BYTES = 4
"""DDP with find_unused_parameters also sums one int32 a parameter tensor: which of them had a gradient anywhere."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage of a recipe, on each process. Bytes, but for `parameters`, a count.

    Attributes:
        weights: parameters and buffers. buffers: those alone. averages: the EMAs. gradients: of all parameters that
            some phase steps; they are kept between phases. optimizers: their state after a step. buckets: DDP's copies
            of the gradients, one for each phase.
        reduced: what DDP all-reduces in an iteration, on average (phases with `every` count as 1/every; gates as
            open): each phase the gradients of its own parts, a joint phase those of all.
        gathered: fully sharded, what is whole at one time beside the share: parameters of the units under way, and as
            much again for their gradients.
    """

    stage: str
    parameters: int
    weights: int
    buffers: int
    averages: int
    gradients: int
    optimizers: int
    buckets: int
    reduced: float
    gathered: int

    @property
    def alone(self) -> int:
        """Memory on one process, activations aside."""
        return self.weights + self.averages + self.gradients + self.optimizers

    @property
    def data_parallel(self) -> int:
        """Memory on each of several processes, activations aside."""
        return self.alone + self.buckets

    def fully_sharded(self, processes: int) -> float:
        """Memory on each of so many processes, activations aside; buffers are whole on each."""
        return self.buffers + (self.alone - self.buffers) / processes + self.gathered


def plan(recipe: Recipe) -> tuple[StagePlan, ...]:
    """The stages of a recipe, each as the trainer runs it; nothing is allocated.

    Raises what the model raises where it cannot be built on torch's meta device.
    """
    with torch.device("meta"), torch.random.fork_rng():
        model = recipe.model(recipe.config)
        averaged = [p for average in recipe.ema for p in parameters_of(model, average.parts)]
        plans = []
        for stage in recipe.stages:
            if stage.begin:
                stage.begin(model)
                averaged = [p for average in recipe.ema for p in parameters_of(model, average.parts)]
            plans.append(_plan_stage(model, stage, averaged))
    return tuple(plans)


def all_reduced_bytes(parameters: Sequence[Tensor]) -> int:
    """Bytes that one backward pass of DDP all-reduces: the gradients of these parameters, and the map of used ones."""
    return bytes_of(parameters) + USED_MAP_BYTES * len(parameters)


def sent_bytes(reduced: float, processes: int) -> float:
    """Bytes that each process sends for an all-reduce of so many in a ring: 2 (n - 1) / n of them (Patarasu & Yuan
    2009, "Bandwidth optimal all-reduce algorithms", section 3)."""
    return 2 * (processes - 1) / processes * reduced


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Memory of tensors' values."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def largest_models(stage: StagePlan, *, processes: int, memory: float) -> dict[str, int]:
    """Parameters of the largest model of this kind that fits `memory` bytes a process, by strategy; a model grown in
    proportion, its units too, nothing left for activations. "fully sharded" is gencore.training.sharding."""
    check(processes >= 1, "processes", processes, "at least 1")
    check(memory > 0, "memory", memory, "a positive number of bytes")
    needed: dict[str, float] = {"one process": stage.alone}
    if processes > 1:
        needed |= {"data parallel": stage.data_parallel, "fully sharded": stage.fully_sharded(processes)}
    return {strategy: int(stage.parameters * memory / size) for strategy, size in needed.items()}


def _plan_stage(model: Model, stage: Stage, averaged: Sequence[Tensor]) -> StagePlan:
    reached = {phase: reached_parameters(model, stage, phase) for phase in stage.phases}
    return StagePlan(
        stage=stage.name,
        parameters=sum(p.numel() for p in model.parameters()),
        weights=bytes_of(model.parameters()) + bytes_of(model.buffers()),
        buffers=bytes_of(model.buffers()),
        averages=bytes_of(averaged),
        gradients=bytes_of(dict.fromkeys(p for parameters in reached.values() for p in parameters)),
        optimizers=sum(_optimizer_bytes(own_parameters(model, stage, phase), phase) for phase in stage.phases),
        buckets=sum(bytes_of(parameters) for parameters in reached.values()),
        reduced=sum(
            phase.repeats / phase.every * all_reduced_bytes(parameters) for phase, parameters in reached.items()
        ),
        gathered=2 * 4 * gathered_at_once(model),
    )


def _optimizer_bytes(parameters: Sequence[nn.Parameter], phase: Phase) -> int:
    """Of the state that the phase's optimiser really makes: it takes one step on parameters without values."""
    stand_ins = [nn.Parameter(torch.empty_like(p)) for p in parameters]
    for parameter in stand_ins:
        parameter.grad = torch.empty_like(parameter)
    optimizer = phase.optimizer.build(stand_ins)
    with torch.device("cpu"):  # where step counts lie; before torch 2.12, Adam reads them
        optimizer.step()
    return bytes_of(
        value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)
    )
