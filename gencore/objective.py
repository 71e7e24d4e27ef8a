"""How the parts of a model are trained: the loss of each phase, and what happens after its step."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

Batch = Mapping[str, Tensor]


class Loss(NamedTuple):
    """What a phase minimises (a scalar), and detached numbers worth logging."""

    total: Tensor
    metrics: Mapping[str, Tensor] = {}


class Objective(nn.Module, abc.ABC):
    """Knows nothing of optimisers, devices or processes.

    Its state (schedules, running averages, image pools) lives in buffers, so that it is checkpointed and resumed.
    A step may be accumulated from several batches: `loss` is called once for each, `after_step` once.
    """

    double_backward: tuple[str, ...] = ()
    """Parts through which a gradient is differentiated again: these are never compiled."""

    @abc.abstractmethod
    def loss(self, model: Any, phase: str, batch: Batch) -> Loss:
        """The loss of `phase` on `batch` (keys: gencore.data). Gradients reach only the phase's own parts."""

    def after_step(self, model: Any, phase: str) -> None:
        """Called without gradients after the optimiser's step: weight clipping, codebook averages, image pools.

        On several processes it must leave the same state on each: use gencore.distributed.
        """
