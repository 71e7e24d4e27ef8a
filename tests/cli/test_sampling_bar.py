"""The bar over a sampler's steps: on a terminal, one switch to silence it, never in a log."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

import gencore
from gencore.training.callbacks import SamplingBar


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model")
    from gencore_diffusion.networks.build import DenseConfig

    made = gencore.create("ddpm", data_shape=(1, 8, 8), network=DenseConfig(hidden=8, layers=1), num_timesteps=20)
    made.save_pretrained(out)
    return out


def command(model: Path, out: Path, *more: str) -> list[str]:
    sizes = ["-n", "5", "--batch-size", "2", "--steps", "4", "-o", str(out / "x.png")]
    return [sys.executable, "-m", "gencore.cli", "sample", str(model), *sizes, *more]


def on_a_terminal(arguments: list[str], **environment: str) -> str:
    """What a terminal shows as the command's standard error."""
    leader, follower = pty.openpty()
    seen = bytearray()

    def read() -> None:
        try:
            while chunk := os.read(leader, 4096):
                seen.extend(chunk)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    variables = os.environ | {"TERM": "xterm", "COLUMNS": "100"} | environment
    variables = {name: value for name, value in variables.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=follower, env=variables, check=False)
    os.close(follower)
    reader.join()
    os.close(leader)
    assert done.returncode == 0, seen.decode()
    assert done.stdout.startswith(b"Wrote 5")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())


@pytest.mark.slow
def test_one_bar_over_all_batches_on_a_terminal(model: Path, tmp_path: Path) -> None:
    """5 samples in batches of 2 are 3 batches of 4 steps: the bar ends at 12 of 12."""
    shown = on_a_terminal(command(model, tmp_path))
    assert "sampling" in shown
    assert "12/12" in shown


@pytest.mark.slow
@pytest.mark.parametrize(("more", "environment"), [(["--quiet"], {}), ([], {"RANK": "1"})], ids=["quiet", "rank 1"])
def test_silenced(model: Path, tmp_path: Path, more: list[str], environment: dict[str, str]) -> None:
    """By the switch, and on every process but the first."""
    assert on_a_terminal(command(model, tmp_path, *more), **environment) == ""


@pytest.mark.slow
def test_no_bar_in_a_log(model: Path, tmp_path: Path) -> None:
    done = subprocess.run(command(model, tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout == f"Wrote 5 to {tmp_path / 'x.png'}.\n"


def test_it_counts_the_steps_of_all_batches() -> None:
    """Each batch begins at its own step 1."""
    with SamplingBar(batches=2, quiet=False) as bar:
        bar.progress.disable = False
        bar.progress.live.console = Console(file=io.StringIO(), force_terminal=True)
        seen = []
        for _ in range(2):
            for step in (1, 2, 3):
                bar(step, 3)
                seen.append((bar.progress.tasks[0].completed, bar.progress.tasks[0].total))
    assert seen == [(n, 6) for n in range(1, 7)]
