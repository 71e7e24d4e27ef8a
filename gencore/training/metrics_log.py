"""metrics.jsonl: one JSON object a line, readable whatever instant a kill chose."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gencore.errors import GencoreError
from gencore_hub.atomic import atomic_write, storage_errors

if TYPE_CHECKING:
    from gencore.training.trainer import Trainer


class MetricsLog:
    """Appends one JSON object to `path` every so many iterations: step, stage, seconds and the phases' metrics.

    `seconds` of training, over all resumes.
    """

    def __init__(self, path: Path, *, every: int, trackers: bool = False) -> None:
        self.path, self.every, self.trackers = path, every, trackers
        self.began = time.monotonic()

    def rewind(self, iteration: int, say: Callable[[str], None] = lambda text: None) -> None:
        """Drop what was logged after `iteration`, which a resumed run writes again, and what a kill has left of a line
        at the end; the latter is told to `say`. Raises GencoreError for a broken line before the end, and for a link.
        """
        if not os.path.lexists(self.path):
            return
        lines, torn = read_log(self.path)
        if torn > 0:
            say(f"{self.path}: a line was cut short, and {torn} bytes of it are dropped.")
        kept = [line for line in lines if line["step"] <= iteration]
        self.began = time.monotonic() - max((line.get("seconds", 0.0) for line in kept), default=0.0)
        if torn or len(kept) < len(lines):
            atomic_write(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())

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
        self._append(f"{json.dumps(line)}\n".encode())
        if self.trackers:
            trainer.accelerator.log(values, step=trainer.iteration)

    def stopped(self, trainer: Trainer, why: str) -> None:
        """Log that the iteration under way could not be done: a line of its own, which a resume drops."""
        if not trainer.accelerator.is_main_process:
            return
        seconds = round(time.monotonic() - self.began, 3)
        line = {"step": trainer.iteration + 1, "stage": trainer.stage.name, "seconds": seconds, "stopped": why}
        self._append(f"{json.dumps(line)}\n".encode())

    def _append(self, line: bytes) -> None:
        """Raises StorageError where there is no space left; what of the line had been written is taken back."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        with storage_errors(self.path):
            descriptor = os.open(self.path, flags, 0o666)
            try:
                length = os.fstat(descriptor).st_size
                if os.write(descriptor, line) < len(line):
                    os.ftruncate(descriptor, length)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(descriptor)


def read_log(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The objects in a metrics.jsonl, and how many bytes beside them: of a torn last line, of empty ones; -1 where only
    the last newline is missing.

    Raises GencoreError, with the number of the line, where a line before the end is no object with a step.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise GencoreError(f"{path} is a link or no regular file, and is not followed. Remove it.")
    rows = path.read_bytes().split(b"\n")
    filled = [number for number, row in enumerate(rows) if row.strip(b"\0 \r\t")]
    lines: list[dict[str, Any]] = []
    used = 0
    for number in filled:
        try:
            line = json.loads(rows[number])
            if not isinstance(line, dict) or type(line.get("step")) is not int:
                raise ValueError("it is no object with a step")
        except (ValueError, RecursionError) as error:
            if number != filled[-1]:
                raise GencoreError(
                    f"{path}, line {number + 1}, cannot be read ({error}). Repair or remove that line, or the file."
                ) from error
            break
        lines.append(line)
        used += len(rows[number]) + 1
    return lines, sum(map(len, rows)) + len(rows) - 1 - used
