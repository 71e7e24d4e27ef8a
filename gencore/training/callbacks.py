"""What happens beside the training: metrics log, progress bar, sample grids, checkpoints, a graceful stop."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from gencore.distributed import sum_over_processes
from gencore.training import checkpoint as checkpoints

if TYPE_CHECKING:
    from gencore.training.trainer import Trainer


class MetricsLog:
    """Appends one JSON object to `path` every so many iterations: step, stage, seconds and the phases' metrics."""

    def __init__(self, path: Path, *, every: int, trackers: bool = False) -> None:
        self.path, self.every, self.trackers = path, every, trackers
        self.began = time.monotonic()

    def rewind(self, iteration: int) -> None:
        """Drop what was logged after `iteration`: a resumed run writes it again."""
        if self.path.exists():
            kept = [line for line in self.path.read_text().splitlines() if json.loads(line)["step"] <= iteration]
            self.path.write_text("".join(f"{line}\n" for line in kept))

    def after_step(self, trainer: Trainer) -> None:
        """Log, averaged over processes."""
        if trainer.iteration % self.every and trainer.iteration != trainer.iterations:
            return
        reduced: Any = trainer.accelerator.reduce(trainer.metrics, "mean")
        values = {name: value.float().mean().item() for name, value in reduced.items()}
        if not trainer.accelerator.is_main_process:
            return
        seconds = round(time.monotonic() - self.began, 3)
        line = {"step": trainer.iteration, "stage": trainer.stage.name, "seconds": seconds, **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.trackers:
            trainer.accelerator.log(values, step=trainer.iteration)


class ProgressBar:
    """One bar, on the main process, on a terminal only."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(file=sys.stderr)
        self.quiet = quiet
        self.progress: Progress | None = None

    def after_step(self, trainer: Trainer) -> None:
        """Advance; the losses are shown as they stand at every 20th iteration."""
        if self.quiet or not self.console.is_terminal or not trainer.accelerator.is_main_process:
            return
        if self.progress is None:
            self.progress = Progress(*_columns(), TextColumn("{task.fields[losses]}"), console=self.console)
            self.progress.start()
            self.progress.add_task(trainer.recipe.name, total=trainer.iterations, losses="")
        task = self.progress.task_ids[0]
        self.progress.update(
            task, completed=trainer.iteration, description=f"{trainer.recipe.name} {trainer.stage.name}"
        )
        if trainer.iteration % 20 == 0:
            losses = [f"{name} {value.item():.3g}" for name, value in trainer.metrics.items() if name.endswith("/loss")]
            self.progress.update(task, losses="  ".join(losses))

    def stop(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()


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


def _columns() -> tuple[ProgressColumn, ...]:
    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()


class SampleGrids:
    """Writes `folder/step-XXXXXXXX.png`: samples of one fixed seed, so that pictures can be compared."""

    def __init__(self, folder: Path, *, every: int, seed: int) -> None:
        self.folder, self.every, self.seed = folder, every, seed

    def after_step(self, trainer: Trainer) -> None:
        """Sample with the published weights; models whose data are not images, or that cannot sample, have none."""
        if trainer.iteration % self.every and trainer.iteration != trainer.iterations:
            return
        if len(trainer.source.shape) == 3:
            with trainer.published() as model:
                if trainer.accelerator.is_main_process:
                    self._write(model, trainer)
        trainer.accelerator.wait_for_everyone()

    def _write(self, model: Any, trainer: Trainer) -> None:
        from gencore.data.images import save_grid

        samples = preview(model, trainer.stage_source, self.seed)
        if samples is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_grid(samples, self.folder / f"step-{trainer.iteration:08d}.png")


def preview(model: Any, source: Any, seed: int, *, n: int = 64) -> Any:
    """What a person judges the model by, (n, C, H, W) in [-1, 1]: samples, with the data's own conditions where it needs
    some; else, row by row, inputs above translations, or originals above reconstructions. None where there is none.

    `source` is what the model is trained on; its first examples are shown.
    """
    import torch

    from gencore.conditions import ClassLabel
    from gencore.errors import GencoreError

    try:
        model.default_sampler()
    except GencoreError:
        return _pairs(model, source, n // 2)
    kind, condition = model.condition, None
    if kind is not None and not isinstance(kind, ClassLabel):
        batch = source.fetch(torch.arange(min(n, len(source))))
        condition, n = batch[kind.key].to(model.device), len(batch["x"])
    return model.sample(n, seed=seed, condition=condition).clamp(-1, 1)


def _pairs(model: Any, source: Any, n: int, *, columns: int = 8) -> Any:
    """Rows of `columns` pictures that went in, each above what came out."""
    import torch
    from einops import rearrange

    made = getattr(model, "translate", None) or getattr(model, "reconstruct", None)
    if made is None or model.condition is not None:
        return None
    rows = torch.arange(min(n, len(source)) // columns * columns)
    batch = source.fetch(rows) if len(rows) else {}
    x = batch.get("x_input", batch.get("x"))
    if x is None:
        return None
    x, was_training = x.to(model.device), model.training
    model.eval()
    with torch.no_grad():
        y = made(x)
    model.train(was_training)
    if y.shape != x.shape:
        return None
    return rearrange(torch.stack([x, y.clamp(-1, 1)]), "v (r c) ... -> (r v c) ...", c=columns)


class Checkpoints:
    """Writes a checkpoint every so many iterations, at the end, and before an asked-for stop."""

    def __init__(
        self, folder: Path, *, every: int, keep: int, publish: Callable[[Trainer], None] | None = None
    ) -> None:
        self.folder, self.every, self.keep, self.publish = folder, every, keep, publish
        self.latest: int | None = None

    def after_step(self, trainer: Trainer) -> None:
        """The main process writes, the others wait."""
        due = trainer.iteration % self.every == 0 or trainer.iteration == trainer.iterations
        if due or trainer.stop:
            state = trainer.state()
            if trainer.accelerator.is_main_process:
                checkpoints.write(self.folder, trainer.iteration, state, keep=self.keep)
            if self.publish:
                self.publish(trainer)
            self.latest = trainer.iteration
            trainer.accelerator.wait_for_everyone()


class GracefulStop:
    """Turns SIGINT and SIGTERM into `trainer.stop`, to end the run with a checkpoint; a second one is not held."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> GracefulStop:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        signal.signal(number, self._previous[number])

    def after_step(self, trainer: Trainer) -> None:
        """Stop on every process as soon as one has been told to."""
        import torch

        told = torch.tensor(float(self.received is not None), device=trainer.accelerator.device)
        if sum_over_processes(told).item():
            trainer.stop = self.received or "SIGTERM"
