"""The model and the objective of pretext tasks: name what was done to a picture.

A task makes, from pictures alone, inputs and the classes that follow from how they were made. The encoder sees each
input by itself; a head sees the codes of one example's inputs side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import functional as F

from gencore import Adam, Loss, Objective, Phase, Stage


class Task(NamedTuple):
    """`logits` of (M, classes) for `target` (M,) int64: one question of several that a task may ask."""

    name: str
    logits: Tensor
    target: Tensor


Pretext = Callable[[Any, Tensor], tuple[Task, ...]]
"""(model, pictures (N, C, H, W)) -> its questions; draws from torch's global streams."""


class PretextClassification(Objective):
    """Phase "pretext": the sum of the questions' cross-entropies, in nats.

    Logs `turn_accuracy`, `place_accuracy`, `across_accuracy`, `down_accuracy`: share of each question's answers that
    are right; higher is better.
    """

    def __init__(self, pretext: Pretext) -> None:
        super().__init__()
        self.ask = pretext

    def pretext(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"]; labels are not looked at."""
        tasks = self.ask(model, batch["x"])
        losses = [F.cross_entropy(task.logits, task.target) for task in tasks]
        right = {f"{t.name}_accuracy": (t.logits.argmax(1) == t.target).float().mean() for t in tasks}
        return Loss(sum(losses[1:], start=losses[0]), right)


def pretext_stage(pretext: Pretext, *, parts: tuple[str, ...], steps: int, learning_rate: float) -> tuple[Stage, ...]:
    """One stage, one phase."""
    phase = Phase(name="pretext", parts=parts, optimizer=Adam(learning_rate=learning_rate))
    return (Stage(objective=PretextClassification(pretext), phases=(phase,), steps=steps),)
