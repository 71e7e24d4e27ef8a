"""SIGKILL at any time, then --resume: the bits of the run that was never killed. SIGTERM ends with a checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gencore.cli.__main__ import main

pytestmark = pytest.mark.slow

RUNS = {
    "wgan-gp": ["wgan-gp", "--steps", "40", "--set", "width=8", "--set", "latent_dim=8"],
    "dcgan": ["dcgan", "--steps", "60", "--set", "width=8"],
    "ddpm": [
        *("ddpm", "--steps", "40", "--set", "width=8", "--set", "num_classes=10", "--set", "variance=learned"),
        *("--set", "num_timesteps=10"),
    ],
    "noisy-classifier": ["noisy-classifier", "--steps", "60", "--set", "width=8"],
    "vq-vae": ["vq-vae", "--steps", "30", "--set", "prior_steps=30", "--set", "width=8", "--set", "prior_width=8"],
}


def start(arguments: list[str], out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gencore.cli", "train", *arguments, "--out", str(out), "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, error = process.communicate(timeout=300)
    return process.returncode, error


def run_here(arguments: list[str], out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The same command in this process, which has torch loaded; the status that it ends with."""
    monkeypatch.setattr(sys, "argv", ["gencore", "train", *arguments, "--out", str(out), "--quiet"])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def settings(system: str) -> list[str]:
    every = ["--checkpoint-every", "5", "--sample-every", "20", "--log-every", "5", "--seed", "3", "--batch-size", "16"]
    return [*RUNS[system], "--data", "digits", *every]


def kill_after(process: subprocess.Popen[str], out: Path, checkpoints: int, number: int) -> None:
    """Send the signal once so many checkpoints have been seen."""
    seen: set[str] = set()
    while process.poll() is None and len(seen) < checkpoints:
        seen |= {path.name for path in (out / "checkpoints").glob("step-*")}
        time.sleep(0.01)
    process.send_signal(number)


def log(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def files(out: Path) -> dict[str, bytes]:
    names = ["model.safetensors", "config.json"]
    last = max((out / "checkpoints").iterdir())
    pictures = [str(path.relative_to(out)) for path in out.rglob("*.png")]
    return {name: (out / name).read_bytes() for name in (*names, *pictures)} | {
        "state": (last / "state.safetensors").read_bytes()
    }


@pytest.mark.parametrize("system", RUNS)
def test_killed_twice_and_resumed(system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_here(settings(system), whole, monkeypatch) == 0
    process = start(settings(system), killed)
    kill_after(process, killed, 2, signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL
    again = start(["--resume"], killed)
    kill_after(again, killed, 4, signal.SIGKILL)
    assert finish(again)[0] == -signal.SIGKILL
    code, error = finish(start([*settings(system), "--resume"], killed))
    assert code == 0, error
    assert log(killed) == log(whole)
    assert files(killed) == files(whole)
    assert ("samples.png" in files(whole)) == (system != "noisy-classifier")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop(number: int, code: int, tmp_path: Path) -> None:
    """A checkpoint of the very iteration, and the command that continues."""
    out = tmp_path / "run"
    process = start([*settings("dcgan")[:1], "--steps", "100000", "--set", "width=8", "--checkpoint-every", "5"], out)
    kill_after(process, out, 1, number)
    returned, error = finish(process)
    assert returned == code
    assert f"gencore train --resume --out {out}" in error
    assert "Traceback" not in error


def test_resume_refuses_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """More steps are an extension; any other setting is the run's."""
    out = tmp_path / "run"
    assert run_here(["dcgan", "--steps", "2", "--set", "width=8"], out, monkeypatch) == 0
    assert run_here(["dcgan", "--steps", "3", "--set", "width=8", "--resume"], out, monkeypatch) == 0
    assert [line["step"] for line in log(out)][-1] == 3
    capsys.readouterr()
    assert run_here(["dcgan", "--set", "width=16", "--resume"], out, monkeypatch) == 1
    assert "set was ('width=8',), now ('width=16',)" in capsys.readouterr().err
    assert run_here(["--resume"], tmp_path / "nothing", monkeypatch) == 1
    assert "no run to resume" in capsys.readouterr().err
