"""How the parts of a model are trained: one method a phase, and what happens after its step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from gencore.errors import GencoreError

Batch = Mapping[str, Tensor]


class Loss(NamedTuple):
    """What a phase minimises (a scalar), and detached numbers worth logging."""

    total: Tensor
    metrics: Mapping[str, Tensor] = {}
    seen: Any = None
    """What `after_step` needs of the batch: detached tensors, in tuples or by name."""


class Objective(nn.Module):
    """The loss of phase "critic" is the method `critic(model, batch) -> Loss`, and so for every phase.

    Knows nothing of optimisers, devices or processes. Its state (schedules, running averages, image pools) lives in
    buffers, so that it is checkpointed and resumed. Evaluating a loss changes nothing: what a later step needs goes
    through `Loss.seen` to `after_step`. Gradients reach only the phase's own parts.
    """

    double_backward: tuple[str, ...] = ()
    """Parts through which a gradient is differentiated again: these are never compiled."""

    def loss(self, model: Any, phase: str, batch: Batch) -> Loss:
        """The loss of `phase` on `batch` (keys: gencore.data.source).

        Raises GencoreError where the method returns something else, or hands over what still has a gradient (data
        parallel training would take it for an output that the backward pass reaches).
        """
        loss = getattr(self, phase)(model, batch)
        if not isinstance(loss, Loss):
            raise GencoreError(
                f"{type(self).__name__}.{phase} returned a {type(loss).__name__}; expected Loss(total, metrics)."
            )
        if any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(loss.seen)):
            raise GencoreError(f"{type(self).__name__}.{phase} hands over a tensor with a gradient: detach `seen`.")
        return loss

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Called without gradients after the optimiser's step: weight clipping, codebook averages, image pools.

        `seen`: what the step's losses handed over, one for each accumulated batch. On several processes it must leave
        the same state on each: use gencore.distributed.
        """


def check_phase(objective: Objective, phase: str) -> None:
    """Raise GencoreError unless `phase` names a method of the objective that nn.Module and Objective do not have."""
    if hasattr(Objective, phase) or not phase.isidentifier():
        raise GencoreError(f"A phase cannot be called {phase!r}: every objective has something of that name already.")
    if not callable(getattr(type(objective), phase, None)):
        raise GencoreError(
            f"{type(objective).__name__} has no method {phase!r} for the phase of that name: write "
            f"def {phase}(self, model, batch) -> Loss."
        )
