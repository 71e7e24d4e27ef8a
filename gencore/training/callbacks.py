"""What happens beside the training: metrics log, progress bar, sample grids, checkpoints, a graceful stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from gencore.distributed import sum_over_processes
from gencore.errors import GencoreError
from gencore.training import checkpoint as checkpoints
from gencore.training.metrics_log import MetricsLog as MetricsLog
from gencore.training.progress import ProgressBar as ProgressBar
from gencore.training.progress import SamplingBar as SamplingBar

if TYPE_CHECKING:
    from gencore.training.trainer import Trainer


EARLY = (1, 10, 100)
"""Iterations at which a training of more than 100 is looked at, before `every` has come: a bad beginning shows."""


class SampleGrids:
    """Writes `folder/step-XXXXXXXX.png`: samples of one fixed seed, so that pictures can be compared. At `EARLY`
    iterations, then every so many, and at the end.

    A signal that `stopper` holds ends the drawing; the resumed run makes the picture up.
    """

    def __init__(self, folder: Path, *, every: int, seed: int, stopper: GracefulStop | None = None) -> None:
        self.folder, self.every, self.seed, self.stopper = folder, every, seed, stopper

    def after_step(self, trainer: Trainer) -> None:
        """Sample with the published weights; models whose data cannot be drawn, or that cannot sample, have none."""
        if not self._due(trainer):
            return
        if drawable(trainer.source.shape) and trainer.stop is None:
            with trainer.published() as model:
                if trainer.accelerator.is_main_process:
                    self._write(model, trainer)
        trainer.accelerator.wait_for_everyone()

    def make_up(self, trainer: Trainer) -> None:
        """Write the picture of the iteration that is resumed, if it is due and missing. Call it on every process."""
        missing = sum_over_processes(
            _flag(trainer.accelerator.is_main_process and not self._path(trainer).exists(), trainer)
        )
        if trainer.iteration and missing.item():
            self.after_step(trainer)

    def _due(self, trainer: Trainer) -> bool:
        if trainer.iteration % self.every == 0 or trainer.iteration == trainer.iterations:
            return True
        return trainer.iterations > EARLY[-1] and trainer.iteration in EARLY

    def _path(self, trainer: Trainer) -> Path:
        return self.folder / f"step-{trainer.iteration:08d}.png"

    def _write(self, model: Any, trainer: Trainer) -> None:
        from gencore.data.images import save_grid

        samples = preview(model, trainer.stage_source, self.seed, stopper=self.stopper)
        if samples is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_grid(samples, self._path(trainer))


class StoppedError(Exception):
    """A signal came while samples were drawn."""


def drawable(shape: tuple[int, ...]) -> bool:
    """Whether examples of that shape are shown as pictures: images (C, H, W), and cubes of voxels (1, S, S, S)."""
    return len(shape) == 3 or (len(shape) == 4 and shape[0] == 1 and len(set(shape[1:])) == 1)


def preview(model: Any, source: Any, seed: int, *, n: int = 64, stopper: GracefulStop | None = None) -> Any:
    """What a person judges the model by, (n, C, H, W) in [-1, 1]: samples, with the data's own conditions where it
    needs some; else, row by row, inputs above translations, or originals above reconstructions. Volumes in three views.
    None where there is none, and as soon as `stopper` has received a signal.

    `source` is what the model is trained on; its first examples are shown.
    """
    drawn = _drawn(model, source, seed, n, stopper)
    if drawn is None or drawn.ndim != 5:
        return drawn
    from gencore.data.sources.volumes import three_views

    return three_views(drawn)


def _drawn(model: Any, source: Any, seed: int, n: int, stopper: GracefulStop | None) -> Any:
    import torch

    from gencore.conditions import ClassLabel

    def look(step: int, steps: int) -> None:
        if stopper is not None and stopper.received is not None:
            raise StoppedError

    try:
        look(0, 1)
        model.default_sampler()
    except GencoreError:
        return _pairs(model, source, n // 2)
    except StoppedError:
        return None
    kind, condition = model.condition, None
    if kind is not None and not isinstance(kind, ClassLabel):
        batch = source.fetch(torch.arange(min(n, len(source))))
        condition, n = batch[kind.key].to(model.device), len(batch["x"])
    try:
        return model.sample(n, seed=seed, condition=condition, callback=look).clamp(-1, 1)
    except StoppedError:
        return None


def _pairs(model: Any, source: Any, n: int, *, columns: int = 8) -> Any:
    """Rows of `columns` pictures that went in, each above what came out; those of another size without smoothing, and
    the first channels of those that have more."""
    import torch
    from einops import rearrange

    from gencore.evaluation_mode import evaluating

    twin = evaluating(model)
    made = getattr(twin, "translate", None) or getattr(twin, "reconstruct", None)
    if made is None or model.condition is not None:
        return None
    rows = torch.arange(min(n, len(source)) // columns * columns)
    batch = source.fetch(rows) if len(rows) else {}
    x = batch.get("x_input", batch.get("x"))
    if x is None:
        return None
    x = x.to(model.device)
    with torch.no_grad():
        y = made(x)
    if y.ndim == x.ndim == 4:
        x = torch.nn.functional.interpolate(x[:, : y.shape[1]], size=y.shape[2:], mode="nearest").expand_as(y)
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
        if sum_over_processes(_flag(self.received is not None, trainer)).item():
            trainer.stop = self.received or "SIGTERM"


def _flag(raised: bool, trainer: Trainer) -> Any:
    """1 or 0 as a tensor where the processes exchange such."""
    import torch

    return torch.tensor(float(raised), device=trainer.accelerator.device)
