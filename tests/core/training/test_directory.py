"""A run directory: one training at a time, nothing followed out of it, nothing left in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gencore.errors import GencoreError, NonFiniteError
from gencore.training import directory
from gencore.training.checkpoint import checkpoints
from gencore.training.run import RunSettings, train

TINY: dict[str, Any] = {"system": "gan", "data": "digits", "steps": 2, "batch_size": 4, "checkpoint_every": 1}


def settings(**changes: Any) -> RunSettings:
    return RunSettings(**TINY | {"set": ("hidden=[4]", "latent_dim=2"), "sample_every": 1000, "log_every": 1} | changes)


def holder(out: Path) -> subprocess.Popen[str]:
    """A process that holds the run until it is killed."""
    code = (
        "import sys, time; from pathlib import Path; from gencore.training import directory\n"
        "with directory.held(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.slow
def test_the_second_training_is_refused_and_a_killed_one_blocks_nobody(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = holder(out)
    try:
        before = sorted(out.iterdir())
        for resume in (False, True):
            if resume:
                (out / "run.json").write_text('{"system": "gan"}')
            began = time.monotonic()
            chosen = RunSettings(system="gan") if resume else settings()
            with pytest.raises(GencoreError, match=rf"A training is running in .*\(process {first.pid}\)"):
                train(chosen, out, resume=resume, quiet=True)
            assert time.monotonic() - began < 10
            if not resume:
                assert sorted(out.iterdir()) == before
        (out / "run.json").unlink()
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert train(settings(), out, quiet=True) is None


def test_a_lock_ends_with_its_block(tmp_path: Path) -> None:
    second = directory.held(tmp_path)
    with directory.held(tmp_path), pytest.raises(GencoreError, match=f"process {os.getpid()}"):
        second.__enter__()
    with pytest.raises(KeyError), directory.held(tmp_path):
        raise KeyError
    with directory.held(tmp_path):
        pass


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "checkpoints", "samples", "run.json", "run.lock", "model.safetensors"]
)
def test_links_are_not_followed_out_of_it(name: str, tmp_path: Path) -> None:
    """Whether they lead to a file, a folder or nowhere; what they lead to stays as it was."""
    out, secret = tmp_path / "run", tmp_path / "secret"
    out.mkdir()
    if name in directory.FOLDERS:
        secret.mkdir()
        (secret / "step-00000001").mkdir()
        (secret / ".step-00000002").mkdir()
    else:
        secret.write_text('{"step": 5}\n')
    (out / name).symlink_to(secret)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(GencoreError, match=f"{name} is a link"):
        train(settings(), out, quiet=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    if secret.is_file():
        assert secret.read_text() == '{"step": 5}\n'
    (out / name).unlink()
    (out / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(GencoreError, match=f"{name} is a link"):
        train(settings(), out, quiet=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_fifo_in_its_place_is_no_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(GencoreError, match="of another kind"):
        train(settings(), tmp_path, quiet=True)


def test_a_run_that_failed_before_its_first_checkpoint_is_begun_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command with corrected data; one that has come to something is not overwritten."""
    from gencore.training.trainer import Trainer

    def broken(self: Trainer, *arguments: Any) -> None:
        raise NonFiniteError("the data hold NaN")

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_check_finite", broken)
        with pytest.raises(NonFiniteError):
            train(settings(), out, quiet=True)
    assert (out / "run.json").exists()
    (out / "metrics.jsonl").write_text('{"step": 1, "stage": "x", "seconds": 7.0}\n')
    np.savez(tmp_path / "other.npz", x=np.linspace(-1, 1, 512, dtype=np.float32).reshape(8, 1, 8, 8))
    assert train(settings(data=str(tmp_path / "other.npz"), seed=3), out, quiet=True) is None
    assert "begun anew" in capsys.readouterr().err
    assert '"stage": "x"' not in (out / "metrics.jsonl").read_text()
    for left in ("checkpoints and model", "model alone", "checkpoints alone"):
        if left == "model alone":
            (out / "checkpoints").rename(tmp_path / "kept")
        if left == "checkpoints alone":
            (tmp_path / "kept").rename(out / "checkpoints")
            (out / "run.json").unlink()
        with pytest.raises(GencoreError, match="holds a run already"):
            train(settings(), out, quiet=True)


def test_leftovers_are_swept_when_a_run_begins(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(settings(), out, quiet=True)
    (out / "checkpoints" / ".step-00000001").mkdir()
    train(settings(), out, resume=True, quiet=True)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-00000001", "step-00000002"]
    assert len(checkpoints(out / "checkpoints")) == 2


def test_data_that_cannot_be_opened_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(GencoreError):
        train(settings(data=str(tmp_path / "none")), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
