"""Bytes that the processes of a training really exchange, counted while it runs on this CPU."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gencore.api import recipe
from gencore.errors import GencoreError
from gencore.recipes import Recipe
from gencore.testing.processes import run_processes
from gencore.training.sharding import obstacles

_COLLECTIVES = {"all_gather": ("c10d::_allgather_base_", 0), "reduce_scatter": ("c10d::_reduce_scatter_base_", 1)}
"""torch's name of each, and which of its arguments is the whole tensor."""


def measure_statistics(recipe: Recipe, source: Any) -> tuple[dict[str, int], ...]:
    """{"all_reduce": bytes, "broadcast": bytes} that each stage's objective and the trainer's check for NaN exchange
    beside the gradients (codebook averages, running costs), in an iteration with every phase.

    They are read off one real iteration a stage on this process' CPU.
    """
    from gencore.distributed import recorded
    from gencore.training.trainer import Trainer

    stages = tuple(dataclasses.replace(stage, steps=1) for stage in recipe.stages)
    taken: list[dict[str, int]] = []

    class Take:
        between = 0

        def after_step(self, trainer: Any) -> None:
            """Sum up what this stage's iteration exchanged; between stages the trainer shares the buffers out."""
            own = exchanges[self.between :]
            taken.append({kind: sum(n for k, n in own if k == kind) for kind in ("all_reduce", "broadcast")})
            exchanges.clear()
            self.between = len(list(trainer.model.buffers()))

    trainer = Trainer(dataclasses.replace(recipe, stages=stages), source, cpu=True, callbacks=(Take(),))
    with recorded() as exchanges:
        trainer.fit()
    trainer.close()
    return tuple(taken)


def measure_sharded(system: str, **overrides: Any) -> tuple[dict[str, int], ...]:
    """{"all_gather": bytes of the gathered parameters, "reduce_scatter": bytes of the gradients that are averaged and
    scattered} in an iteration of each stage, fully sharded.

    torch's profiler counts them on two processes of this CPU, which train the recipe on its own data. With n processes
    in a ring each sends (n - 1) / n of either. Raises GencoreError where the system cannot be sharded.
    """
    refusals = obstacles(recipe(system, **overrides))
    if refusals:
        raise GencoreError(f"{system} cannot be trained fully sharded: {'; '.join(refusals)}.")
    with tempfile.TemporaryDirectory() as folder:
        counted, _ = run_processes(_count_sharded, 2, Path(folder), system, overrides)
    return tuple(
        {kind: int(n) for kind, n in zip(_COLLECTIVES, stage, strict=True)} for stage in counted["bytes"].tolist()
    )


def _count_sharded(system: str, overrides: dict[str, Any]) -> dict[str, Tensor]:
    from torch.profiler import ProfilerActivity, profile

    from gencore.training.trainer import Trainer

    made = recipe(system, **overrides)
    stages = tuple(dataclasses.replace(stage, steps=1) for stage in made.stages)
    counts = []

    class Count:
        def __init__(self) -> None:
            self.begin()

        def begin(self) -> None:
            """Count from here."""
            self.profile = profile(activities=[ProfilerActivity.CPU], record_shapes=True)
            self.profile.start()

        def after_step(self, trainer: Any) -> None:
            """Sum up what this stage's iteration exchanged."""
            self.profile.stop()
            counts.append([self.bytes(event, whole) for event, whole in _COLLECTIVES.values()])
            self.begin()

        def bytes(self, event: str, whole: int) -> int:
            """Of the whole tensor, argument number `whole`, in float32."""
            return 4 * sum(math.prod(e.input_shapes[whole]) for e in self.profile.events() if e.name == event)

    count = Count()
    trainer = Trainer(
        dataclasses.replace(made, stages=stages), own_source(made), cpu=True, shard=True, callbacks=(count,)
    )
    trainer.fit()
    count.profile.stop()
    trainer.close()
    return {"bytes": torch.tensor(counts)}


def own_source(recipe: Recipe) -> Any:
    """The recipe's own data, in the size that its model takes."""
    from gencore.data import open_source

    shape = recipe.config.data_shape  # type: ignore[attr-defined]
    return open_source(recipe.data, image_size=shape[-1] if len(shape) == 3 else None)
