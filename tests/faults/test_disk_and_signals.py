"""A full disk, a place that cannot be written, signals while a checkpoint is being written, a clock that jumps back."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import gencore
from gencore.data import digits
from gencore.training import checkpoint
from gencore.training.callbacks import GracefulStop
from gencore.training.run import RunSettings, train
from gencore_hub import StorageError, atomic

SETTINGS = {"system": "gan", "data": "digits", "steps": 6, "batch_size": 8, "checkpoint_every": 2, "log_every": 2}


def settings(**changes: Any) -> RunSettings:
    return RunSettings(**SETTINGS | {"set": ("hidden=[8]", "latent_dim=4"), "sample_every": 100} | changes)


def state(out: Path) -> bytes:
    return (checkpoint.checkpoints(out / "checkpoints")[-1] / "state.safetensors").read_bytes()


def trainer() -> gencore.Trainer:
    made = gencore.recipe("gan", hidden=(8,), latent_dim=4, steps=2, batch_size=8)
    run = gencore.Trainer(made, digits("train"), cpu=True)
    run.fit()
    return run


@pytest.fixture
def full_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`full_after(n)`: from the n-th sync on there is no space left, as a file system with late allocation tells it."""

    def arm(count: int) -> None:
        left = count

        def sync(descriptor: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("os.fsync", sync)

    return arm


@pytest.mark.parametrize("syncs", range(7))
def test_a_disk_that_fills_up_while_a_checkpoint_is_written(syncs: int, full_after: Any, tmp_path: Path) -> None:
    """One error that says so; the checkpoint before it loads, and no half of the new one is left."""
    saved = trainer().state()
    first = checkpoint.write(tmp_path, 1, saved, keep=2)
    full_after(syncs)
    enough = syncs >= 5  # three files, their folder, and the folder that it comes to
    with contextlib.nullcontext() if enough else pytest.raises(StorageError, match="Free some space"):
        checkpoint.write(tmp_path, 2, saved, keep=2)
    assert first in checkpoint.checkpoints(tmp_path)
    for whole in checkpoint.checkpoints(tmp_path):
        assert checkpoint.read(whole).values["step"] == saved.values["step"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_file_size_limit_in_a_real_process(tmp_path: Path) -> None:
    """RLIMIT_FSIZE, set by the process on itself once it has a checkpoint: what a quota does."""
    import subprocess
    import sys

    code = (
        "import resource, signal, sys, torch; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); torch.set_num_threads(1)\n"
        "from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from tests.faults.test_disk_and_signals import trainer\n"
        "from gencore.training import checkpoint\n"
        "out = Path(sys.argv[1]); state = trainer().state(); checkpoint.write(out, 1, state, keep=2)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: checkpoint.write(out, 2, state, keep=2)\n"
        "except ValueError as error: print(type(error).__name__, error)\n"
        "names = [path.name for path in checkpoint.checkpoints(out)]\n"
        "print(names, checkpoint.read(out / names[0]).values['step'])\n"
    )
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code, str(tmp_path), str(root)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    error, survivors = done.stdout.splitlines()
    assert error.startswith("StorageError")
    assert survivors == "['step-00000001'] 2"


def test_an_output_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that turned read-only after the first checkpoint: one error, the checkpoint loads."""
    out = tmp_path / "run"
    original = os.rename

    def rename(source: Any, target: Any, **options: Any) -> None:
        if "step-00000004" in str(target):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(target))
        original(source, target, **options)

    monkeypatch.setattr("os.rename", rename)
    with pytest.raises(StorageError, match=r"step-00000004.*Read-only.*Choose a place"):
        train(settings(), out, quiet=True)
    assert [path.name for path in checkpoint.checkpoints(out / "checkpoints")] == ["step-00000002"]
    monkeypatch.undo()
    train(settings(), out, resume=True, quiet=True)
    train(settings(), tmp_path / "whole", quiet=True)
    assert state(out) == state(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_a_checkpoint_is_written(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint is finished, the run stops after it, and its resume ends at the bits of the whole run."""
    sync, sent = atomic.sync_tree, []

    def interrupted(root: Path) -> None:
        if not sent:
            sent.append(os.kill(os.getpid(), number))
        sync(root)

    monkeypatch.setattr(atomic, "sync_tree", interrupted)
    out = tmp_path / "run"
    assert train(settings(), out, quiet=True) == signal.Signals(number).name
    assert sent
    assert checkpoint.read(checkpoint.checkpoints(out / "checkpoints")[-1]).values["step"] < 6
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert train(settings(), out, resume=True, quiet=True) is None
    train(settings(), tmp_path / "whole", quiet=True)
    assert state(out) == state(tmp_path / "whole")


def test_a_second_signal_is_not_held() -> None:
    """Who asks twice wants it now: the second SIGINT is Python's own KeyboardInterrupt. (Its handler is set here: what
    a shell starts in the background ignores SIGINT.)"""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with GracefulStop() as stopper:
            os.kill(os.getpid(), signal.SIGINT)
            assert stopper.received == "SIGINT"
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_clock_that_jumps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest checkpoint is the one of the highest number, whatever the files' times and the clock say."""
    whole, out = tmp_path / "whole", tmp_path / "run"
    train(settings(), whole, quiet=True)
    now = iter(range(2_000_000_000, 0, -1000))
    monkeypatch.setattr("time.time", lambda: float(next(now)))
    train(settings(steps=6), out, quiet=True)
    for age, path in enumerate(checkpoint.checkpoints(out / "checkpoints")):
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    assert [path.name for path in checkpoint.checkpoints(out / "checkpoints")] == ["step-00000004", "step-00000006"]
    assert state(out) == state(whole)


@pytest.mark.slow
def test_sigterm_while_a_slow_grid_is_drawn(tmp_path: Path) -> None:
    """ncsn's pictures take hundreds of evaluations: the checkpoint is there before them, and the signal ends them."""
    import subprocess
    import sys
    import time

    out = tmp_path / "run"
    words = ["train", "ncsn", "--data", "digits", "--steps", "4", "--batch-size", "8", "--checkpoint-every", "1"]
    slow = ["--sample-every", "1", "--set", "width=64", "--set", "num_levels=60", "--quiet"]
    command = [sys.executable, "-m", "gencore.cli", *words, *slow, "--out", str(out)]
    process = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 240
    while not checkpoint.checkpoints(out / "checkpoints") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2)
    assert process.poll() is None
    assert not (out / "samples").exists(), "the grid was drawn too fast for this test"
    told = time.monotonic()
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=120)[1]
    assert time.monotonic() - told < 30, "torchrun's grace"
    assert process.returncode == 143, error
    assert "Stopped by SIGTERM; a checkpoint was written" in error
    whole = checkpoint.read(checkpoint.checkpoints(out / "checkpoints")[-1])
    assert 1 <= whole.values["step"] <= 2
