"""Maximum likelihood, the one objective of the family, and the models' own marginal over a condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gencore import Adam, Loss, Objective, Phase, Stage
from gencore.conditions import ClassLabel, Condition, of_batch
from gencore.errors import GencoreError
from gencore.nn.likelihood import PROBABILITY, bits_per_dim


class MaximumLikelihood(Objective):
    """Minimise -log p(x), or -log p(x | condition), in nats a number; logged in bits.

    Logs `bits_per_dim`: code length of one number of the data, in bits; lower is better.
    """

    def likelihood(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"], and the model's condition."""
        x = batch["x"]
        condition = None if model.condition is None else of_batch(model.condition, batch)
        nats, numbers = model.log_prob(x, condition=condition).mean(), x[0].numel()
        return Loss(-nats / numbers, {"bits_per_dim": bits_per_dim(nats.detach(), numbers, PROBABILITY)})


def one_stage(*, steps: int, learning_rate: float) -> tuple[Stage, ...]:
    """All parts by Adam."""
    phase = Phase(name="likelihood", parts=("network",), optimizer=Adam(learning_rate=learning_rate))
    return (Stage(objective=MaximumLikelihood(), phases=(phase,), steps=steps),)


def over_classes(
    condition: Condition | None, given: Tensor | None, count: int, log_prob: Callable[[Tensor | None], Tensor]
) -> Tensor:
    """log p(x | given), (N,) nats; where a class-conditional model is given none, log of the mean of p(x | class) over
    its classes, which are drawn in equal shares.

    Raises GencoreError for a condition that the model does not take, or lacks.
    """
    if condition is None:
        if given is not None:
            raise GencoreError("This model is unconditional: it takes no condition. Leave it out.")
        return log_prob(None)
    if given is not None:
        return log_prob(condition.check(given, count))
    if not isinstance(condition, ClassLabel):
        raise GencoreError("log p(x) of this model is of x given its condition only: pass condition=...")
    every = [log_prob(condition.check(label, count)) for label in range(condition.count)]
    return torch.stack(every).logsumexp(0) - math.log(condition.count)
