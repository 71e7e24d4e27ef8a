"""What a training, or a sampling, shows of itself while it runs. Imported by `gencore sample`: it needs no torch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from gencore_hub.foreign import shown

if TYPE_CHECKING:
    from gencore.training.trainer import Trainer


class ProgressBar:
    """On the main process: one bar on a terminal, elsewhere a line every `seconds`.

    The losses are running means, over about the last `MEMORY` iterations.
    """

    MEMORY = 50

    def __init__(self, *, quiet: bool, seconds: float = 30.0) -> None:
        self.console = Console(file=sys.stderr)
        self.quiet, self.seconds = quiet, seconds
        self.progress: Progress | None = None
        self.means: dict[str, Any] = {}
        self.seen = 0
        self.began: tuple[float, int] | None = None
        self.said = 0.0

    def after_step(self, trainer: Trainer) -> None:
        """Advance. Losses are read at every 20th iteration only: on a GPU that waits for it."""
        if self.quiet or not trainer.accelerator.is_main_process:
            return
        self._average(trainer.metrics)
        if not self.console.is_terminal:
            self._say(trainer)
            return
        if self.progress is None:
            self.progress = Progress(
                *_columns(), TextColumn("{task.fields[losses]}", markup=False), console=self.console
            )
            self.progress.start()
            self.progress.add_task(_label(trainer), total=trainer.iterations, losses="")
        task = self.progress.task_ids[0]
        self.progress.update(task, completed=trainer.iteration, description=_label(trainer))
        if trainer.iteration % 20 == 0:
            self.progress.update(task, losses=self.losses())

    def losses(self) -> str:
        """The phases' losses, as they are shown."""
        return "  ".join(f"{shown(name, line=True)} {value.item():.3g}" for name, value in self.means.items())

    def stop(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()

    def _average(self, metrics: Mapping[str, Any]) -> None:
        self.seen += 1
        for name, value in metrics.items():
            if name.endswith("/loss"):
                new = value.detach().float()
                self.means[name] = (
                    new if name not in self.means else self.means[name].lerp(new, 1 / min(self.seen, self.MEMORY))
                )
        self.means = {name: mean for name, mean in self.means.items() if name in metrics}

    def _say(self, trainer: Trainer) -> None:
        now = time.monotonic()
        if self.began is None:
            self.began, self.said = (now, trainer.iteration), now
        if now - self.said < self.seconds:
            return
        self.said = now
        rate = (trainer.iteration - self.began[1]) / (now - self.began[0])
        left = f"{(trainer.iterations - trainer.iteration) / rate / 60:,.1f} minutes left" if rate else ""
        self.console.print(
            f"{_label(trainer)}: {trainer.iteration:,} of {trainer.iterations:,}, "
            f"{rate:.3g} a second, {left}, {self.losses()}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


class SamplingBar:
    """A callback for `Model.sample`: one bar over the inner steps of all its batches, on a terminal only.

    A sampler without inner steps never calls it, and has no bar.
    """

    def __init__(self, *, batches: int, quiet: bool) -> None:
        self.batches, self.done, self.console = batches, 0, Console(file=sys.stderr)
        self.progress = Progress(*_columns(), console=self.console, disable=quiet or not self.console.is_terminal)

    def __enter__(self) -> SamplingBar:
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def __call__(self, step: int, steps: int) -> None:
        """After inner step `step` of `steps`, counted from 1, of the batch under way."""
        if not self.progress.task_ids:
            self.progress.start()
            self.progress.add_task("sampling")
        self.progress.update(self.progress.task_ids[0], completed=self.done + step, total=self.batches * steps)
        self.done += steps if step == steps else 0


def is_first_process() -> bool:
    """Whether this is the process that writes, as torchrun and accelerate launch number them."""
    return int(os.environ.get("RANK", "0")) == 0


def _label(trainer: Trainer) -> str:
    """System and stage: words of a plugin, shown as text."""
    return shown(f"{trainer.recipe.name} {trainer.stage.name}", line=True)


def _columns() -> tuple[ProgressColumn, ...]:
    return TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
