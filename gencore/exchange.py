"""Bytes that the processes of a training really exchange, counted while it runs on this CPU."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.profiler import ProfilerActivity, profile

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

    taken: list[dict[str, int]] = []

    class Recording(Trainer):
        def _iterate(self, run: Any) -> None:
            with recorded() as exchanges:
                super()._iterate(run)
            taken.append({kind: sum(n for k, n in exchanges if k == kind) for kind in ("all_reduce", "broadcast")})

    trainer = Recording(_one_iteration(recipe), source, cpu=True)
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
        try:
            counted, _ = run_processes(_count_sharded, 2, Path(folder), system, overrides)
        except ProcessRaisedException as error:
            reason = str(error).strip().splitlines()[-1]
            raise GencoreError(f"{system} failed to train fully sharded on two processes: {reason}") from error
    return tuple(
        {kind: int(n) for kind, n in zip(_COLLECTIVES, stage, strict=True)} for stage in counted["bytes"].tolist()
    )


def _count_sharded(system: str, overrides: dict[str, Any]) -> dict[str, Tensor]:
    from gencore.training.trainer import Trainer

    counts = []

    class Profiled(Trainer):
        def _iterate(self, run: Any) -> None:
            with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
                super()._iterate(run)
            counts.append([self._bytes(seen.events(), *collective) for collective in _COLLECTIVES.values()])

        @staticmethod
        def _bytes(events: Any, name: str, whole: int) -> int:
            """Of the whole tensor, argument number `whole`, in float32."""
            return 4 * sum(math.prod(event.input_shapes[whole]) for event in events if event.name == name)

    made = _one_iteration(recipe(system, **overrides))
    trainer = Profiled(made, own_source(made), cpu=True, shard=True)
    trainer.fit()
    trainer.close()
    return {"bytes": torch.tensor(counts)}


def _one_iteration(recipe: Recipe) -> Recipe:
    """The recipe with one iteration a stage."""
    return dataclasses.replace(recipe, stages=tuple(dataclasses.replace(s, steps=1) for s in recipe.stages))


def own_source(recipe: Recipe) -> Any:
    """The recipe's own data, in the size that its model takes."""
    from gencore.data import open_source

    shape = recipe.config.data_shape  # type: ignore[attr-defined]
    return open_source(recipe.data, image_size=shape[-1] if len(shape) == 3 else None)
