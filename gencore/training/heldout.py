"""The loss of data that are not trained on, now and then: what a training learns by heart does not lower it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from gencore.data import Batches, Source, fingerprint
from gencore.errors import GencoreError
from gencore.evaluation_mode import evaluating

if TYPE_CHECKING:
    from gencore.training.trainer import Trainer

PREFIX = "heldout/"
BATCHES = 4
"""The same ones every time, with the same random numbers: about as much work as one iteration and a half."""

EVERY = 100
"""Iterations, unless said: the held-out loss then costs less than 2 % of the training."""


class HeldOut:
    """Puts the metric `heldout/PHASE`, the mean loss of `BATCHES` batches of other data under the live weights in
    evaluation mode, into the log: in its first line at or after every multiple of `every` iterations.

    `opened` gives those data, when they are first needed; None where there are none, and no metric then. Nothing of the
    training is touched: not the weights, nor the objective, nor the random streams.
    """

    def __init__(self, opened: Callable[[], Source | None], *, every: int, log_every: int, seed: int) -> None:
        self.opened, self.every, self.log_every, self.seed = opened, every, log_every, seed
        self._stage: tuple[int, list[Any]] = (-1, [])

    def after_step(self, trainer: Trainer) -> None:
        """Take the former numbers out of the metrics, and put new ones in where they are due."""
        for name in [name for name in trainer.metrics if name.startswith(PREFIX)]:
            del trainer.metrics[name]
        iteration, last = trainer.iteration, trainer.iteration == trainer.iterations
        since = (iteration - 1) // self.log_every * self.log_every
        if (iteration % self.log_every and not last) or iteration // self.every == since // self.every:
            return
        batches = self._batches(trainer)
        if not batches:
            return
        model = evaluating(trainer.model)
        with torch.random.fork_rng(), torch.enable_grad():
            for phase in trainer.stage.phases:
                torch.manual_seed(self.seed)
                losses = [trainer.objective.loss(model, phase.name, batch).total.detach() for batch in batches]
                trainer.metrics[f"{PREFIX}{phase.name}"] = torch.stack(losses).mean()

    @functools.cached_property
    def _source(self) -> Source | None:
        return self.opened()

    def _batches(self, trainer: Trainer) -> list[Any]:
        """Of the stage under way, which may see the data in its own way."""
        if self._source is None:
            return []
        if self._stage[0] != trainer.stage_index:
            stage = trainer.stage
            source = stage.data(self._source, trainer.model) if stage.data else self._source
            size = min(trainer.recipe.batch_size, len(source))
            order = Batches(source, size, seed=self.seed)
            device = trainer.accelerator.device
            found = [order[k] for k in range(min(BATCHES, order.batches_per_epoch))]
            self._stage = (
                trainer.stage_index,
                [{key: value.to(device) for key, value in batch.items()} for batch in found],
            )
        return self._stage[1]


def check_apart(heldout: Source, source: Source) -> Source:
    """`heldout`. Raises GencoreError where it is the training data themselves: folders and array files have no test
    part of their own."""
    if fingerprint(heldout) == fingerprint(source):
        raise GencoreError(
            f"evaluate_every asks for the loss of data that are not trained on, but {source.name} has no test part. "
            "Leave it out."
        )
    return heldout


def alone(*, shard: bool) -> bool:
    """Whether one process trains, and holds all of the weights."""
    return not shard and int(os.environ.get("WORLD_SIZE", "1")) == 1


def check_alone(*, shard: bool) -> None:
    """Raise GencoreError where several processes train, or the weights are shared out."""
    if not alone(shard=shard):
        raise GencoreError("evaluate_every works on one process only, and not with shard: leave it out.")
