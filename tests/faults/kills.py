"""A signal at a random instant of a little training that writes a checkpoint after every iteration, then a resume.
SIGKILL ends it on the spot; SIGINT is a Ctrl-C that nothing holds back, and comes up through whatever was being done.

The trainings run in children of a fork server that has torch loaded: a tenth of a second each instead of five. Most of
a child's time goes into writing, so most kills strike while a checkpoint or the model directory is being written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import multiprocessing
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

STEPS = 3
INTERRUPTED = 1
"""The exit status of a child that a KeyboardInterrupt has ended."""
PRELOAD = [
    *("torch", "torch._dynamo", "accelerate", "huggingface_hub", "huggingface_hub.serialization"),
    *(
        "gencore.testing.conformance",
        "gencore.training.callbacks",
        "gencore.pretrained",
        "gencore.data.sources.bundled",
    ),
]
"""torch._dynamo is what the first optimiser of a process imports; that alone takes seconds."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """`instant`: seconds after the training began; `killed` is false where it had ended before. `while_writing`: an
    unfinished folder lay there afterwards. `resumed_from`: the checkpoint that was found, "" for none."""

    instant: float
    killed: bool
    while_writing: bool
    resumed_from: str


def train(folder: str, system: str, sync: bool, began: Connection | None) -> None:
    """Train, or resume what is in `folder`: the body of a child."""
    import torch

    from gencore.testing.conformance import tiny_recipe, tiny_source
    from gencore.training.callbacks import Checkpoints
    from gencore.training.checkpoint import checkpoints, read
    from gencore.training.trainer import Trainer

    torch.set_num_threads(1)
    gc.freeze()  # a training's end looks for garbage: not among all of torch
    if not sync:
        os.fsync = lambda descriptor: None  # a killed process, unlike a dead machine, loses nothing it has written
    made = tiny_recipe(system, steps=STEPS)
    root = Path(folder)
    keeper = Checkpoints(root / "checkpoints", every=1, keep=2, publish=lambda trainer: publish(trainer.model, root))
    trainer = Trainer(made, tiny_source(made), seed=1, cpu=True, callbacks=(keeper,))
    if began is not None:
        began.send(os.getpid())
    if found := checkpoints(root / "checkpoints"):
        trainer.load_state(read(found[-1]))
    trainer.fit()
    publish(trainer.model, root)  # the kill may have come between the last checkpoint and the model


def publish(model: Any, root: Path) -> None:
    """The model beside the checkpoints, with a card that does not name the folder."""
    model.save_pretrained(root / "model", card="# a card\n")


def start(folder: Path, system: str, sync: bool) -> tuple[Any, float]:
    """A child that is training, and when it began."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=train, args=(str(folder), system, sync, theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        ours.recv()
    except EOFError:
        child.join()
        raise AssertionError(f"the training of {system} ended with {child.exitcode} before it began") from None
    finally:
        ours.close()
    return child, time.monotonic()


def run_whole(folder: Path, system: str, *, sync: bool = False) -> float:
    """A training that nobody kills; its seconds."""
    child, began = start(folder, system, sync)
    child.join()
    assert child.exitcode == 0, f"{system} ended with {child.exitcode}"
    return time.monotonic() - began


def run_killed(
    folder: Path,
    system: str,
    seconds: float,
    draw: random.Random,
    *,
    kills: int,
    sync: bool = False,
    number: signal.Signals = signal.SIGKILL,
) -> list[Kill]:
    """Killed `kills` times at instants drawn from [0, seconds), resumed each time, and in the end left alone;
    fewer times where it ends before."""
    events = []
    for _ in range(kills):
        instant = draw.uniform(0, seconds)
        child, began = start(folder, system, sync)
        child.join(max(0.0, instant - (time.monotonic() - began)))
        if child.exitcode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended, and the fork server has taken its status
                os.kill(child.pid, number)
        child.join()
        ends = (0, -number) if number == signal.SIGKILL else (0, INTERRUPTED)
        assert child.exitcode in ends, f"{system} ended with {child.exitcode}"
        left = sorted(path.name for path in (folder / "checkpoints").glob("step-*"))
        events.append(
            Kill(
                instant=round(instant, 4),
                killed=child.exitcode != 0,
                while_writing=any(folder.rglob(".*.gencore-tmp")) or any(folder.rglob(".gencore-pending")),
                resumed_from=left[-1] if left else "",
            )
        )
        if not events[-1].killed:
            break
    run_whole(folder, system, sync=sync)
    return events


def differences(first: Path, second: Path) -> list[str]:
    """Files of two ended trainings that differ: the newest checkpoint and the model. (A kill after the last checkpoint
    may leave an older one behind, since nothing is written any more that would drop it.)"""
    one, other = _results(first), _results(second)
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def _results(root: Path) -> dict[str, bytes]:
    newest = max((root / "checkpoints").glob("step-*"))
    files = [path for folder in (newest, root / "model") for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
