"""A critic that rests while it is right too often (Wu et al. 2016, arXiv:1610.07584, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gencore import Objective
from gencore.config import check
from gencore.distributed import process_count, sum_over_processes


def critic_accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """The share of logits (N,) on the right side of 0: above for real examples, below for generated ones."""
    right = torch.cat([real > 0, fake < 0])
    return right.float().mean()


class AccuracyGate(Objective):
    """Base of objectives whose phase "generator" hands over the critic's accuracy on its batch: `gate` says whether
    the critic trains on the next one. The generator never rests, so that the accuracy is always that of the last batch.
    """

    accuracy: Tensor

    def __init__(self, most: float) -> None:
        super().__init__()
        check(0 < most <= 1, "most_accurate", most, "a share above 0, up to 1, at which no critic rests")
        self.most_accurate = most
        self.register_buffer("accuracy", torch.zeros(()))

    def gate(self) -> bool:
        """Whether the critic may step."""
        return self.accuracy.item() <= self.most_accurate

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Keep the accuracy, the mean over accumulated batches and processes."""
        if phase == "generator":
            self.accuracy.copy_(sum_over_processes(torch.stack(list(seen)).mean()) / process_count())
