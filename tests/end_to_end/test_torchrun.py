"""`torchrun -m gencore.cli train` is the same run as `gencore train`, on several processes; one of them writes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gencore

pytestmark = pytest.mark.slow

TRAIN = ["wgan-gp", "--data", "digits", "--set", "width=8", "--batch-size", "16", "--tracker", "tensorboard"]


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, "-m", "gencore.cli", "train", *arguments, "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_two_processes_write_one_run(tmp_path: Path) -> None:
    out = tmp_path / "two"
    done = torchrun(*TRAIN, "--steps", "4", "--checkpoint-every", "2", "--log-every", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("Trained. Try:") == 1
    assert [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [2, 4]
    assert json.loads((out / "checkpoints/step-00000004/state.json").read_text())["training"]["processes"] == 2
    assert len(list((out / "tracker").rglob("*tfevents*"))) >= 1
    alone = [sys.executable, "-m", "gencore.cli", "train", "--resume", "--out", str(out)]
    refused = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "processes was 2, now 1" in refused.stderr


def test_a_sharded_run_is_resumed_and_read_as_any_other(tmp_path: Path) -> None:
    """Its last checkpoint taken away, the run resumes from the one before and ends with the same bytes."""
    out = tmp_path / "sharded"
    words = ["vae", "--data", "digits", "--batch-size", "16", "--steps", "4", "--checkpoint-every", "2", "--shard"]
    done = torchrun(*words, "--sample-every", "4", "--out", str(out))
    assert done.returncode == 0, done.stderr[-3000:]
    last = out / "checkpoints/step-00000004"
    state, weights = (last / "state.safetensors").read_bytes(), (out / "model.safetensors").read_bytes()
    assert (out / "samples/step-00000004.png").exists()
    assert gencore.from_pretrained(out).sample(2).isfinite().all()
    shutil.rmtree(last)
    again = torchrun("--resume", "--out", str(out))
    assert again.returncode == 0, again.stderr[-3000:]
    assert (last / "state.safetensors").read_bytes() == state
    assert (out / "model.safetensors").read_bytes() == weights
    alone = [sys.executable, "-m", "gencore.cli", "train", *words, "--out", str(tmp_path / "alone")]
    refused = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "vae cannot be trained fully sharded: it runs on one process" in refused.stderr
