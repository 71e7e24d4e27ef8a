"""Several processes: samples split over ranks are those of one, four ranks end equal, and a dead rank ends the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import gencore
from gencore.distributed import refuse_unsupported
from gencore.errors import GencoreError
from gencore.testing import run_processes
from gencore.testing.conformance import tiny_model, tiny_recipe, tiny_source, train_tiny
from gencore.training.checkpoint import checkpoints, read

pytestmark = pytest.mark.slow

COUNT = 10
SYSTEMS = ("dcgan", "vae", "vq-vae", "ddpm")


def sample_share() -> dict[str, torch.Tensor]:
    """This rank's part of COUNT samples of each system."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    mine = torch.arange(COUNT).tensor_split(ranks)[rank]
    return {s: tiny_model(s).sample(len(mine), seed=5, start=int(mine[0]), batch_size=2) for s in SYSTEMS}


@pytest.mark.parametrize("ranks", [2, 4])
def test_sampling_split_over_ranks_gives_the_same_samples(ranks: int, tmp_path: Path) -> None:
    shares = run_processes(sample_share, ranks, tmp_path)
    for system in SYSTEMS:
        together = torch.cat([share[system] for share in shares])
        torch.testing.assert_close(together, tiny_model(system).sample(COUNT, seed=5), rtol=1e-4, atol=1e-5)
        assert not torch.equal(together[0], together[-1])


def train_all() -> dict[str, torch.Tensor]:
    """The state after two iterations of systems with averages, double backward and codebooks."""
    states = {}
    for system in ("dcgan", "wgan-gp", "vq-vae"):
        made = tiny_recipe(system, steps=2)
        trainer = gencore.Trainer(made, tiny_source(made), cpu=True)
        trainer.fit()
        tensors = {name: t for name, t in trainer.state().tensors.items() if not name.startswith("random/")}
        states |= {f"{system}/{name}": tensor.clone() for name, tensor in tensors.items()}
        assert trainer._run is not None
        trainer._run.release(trainer.accelerator)
    return states


def test_four_processes_end_bit_equal(tmp_path: Path) -> None:
    first, *others = run_processes(train_all, 4, tmp_path)
    for other in others:
        assert first.keys() == other.keys()
        assert [name for name in first if not torch.equal(first[name], other[name])] == []


@pytest.mark.parametrize("system", ["conv-autoencoder", "vq-vae"])
def test_a_step_of_four_is_a_step_of_one_with_four_times_the_batch(system: str, tmp_path: Path) -> None:
    """For systems that claim it; the conformance suite does it with two processes for all of those."""
    one = train_tiny(system, 16)
    for rank in run_processes(train_tiny, 4, tmp_path, system, 4):
        torch.testing.assert_close(rank, one, rtol=1e-4, atol=1e-5)


def test_a_rank_that_dies_takes_the_run_down(tmp_path: Path) -> None:
    """torchrun ends within its grace, names the rank and the signal; the last checkpoint is whole."""
    out = tmp_path / "run"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    words = ["train", "dcgan", "--data", "digits", "--steps", "100000", "--set", "width=8", "--checkpoint-every", "2"]
    command = [*launcher, "-m", "gencore.cli", *words, "--out", str(out), "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not checkpoints(out / "checkpoints") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    ranks = children(process.pid)
    assert len(ranks) == 2, process.communicate(timeout=60)[1][-3000:]
    os.kill(ranks[1], signal.SIGKILL)
    error = process.communicate(timeout=180)[1]
    assert process.returncode != 0
    assert "Signal 9 (SIGKILL)" in error
    last = checkpoints(out / "checkpoints")[-1]
    assert read(last).values["step"] == int(last.name.removeprefix("step-"))
    assert gencore.from_pretrained(out).system == "dcgan"


def run_of(folder: str, steps: int, resume: bool) -> dict[str, torch.Tensor]:
    """A run, or its resume, of so many iterations."""
    from gencore.training.run import RunSettings, train

    chosen = {"system": "gan", "data": "digits", "batch_size": 4, "set": ("hidden=[4]", "latent_dim=2")}
    settings = RunSettings(**chosen, steps=steps, checkpoint_every=1, log_every=1, sample_every=2)
    assert train(settings, Path(folder), resume=resume, quiet=True) is None
    return {"steps": torch.tensor(read(checkpoints(Path(folder) / "checkpoints")[-1]).values["step"])}


def test_two_processes_share_a_run_and_make_it_longer(tmp_path: Path) -> None:
    """The first holds the lock for both; logs and pictures are there once."""
    out = tmp_path / "run"
    for steps in (2, 4):
        for rank in run_processes(run_of, 2, tmp_path, str(out), steps, steps == 4):
            assert rank["steps"] == steps
    assert [line.count('"step"') for line in (out / "metrics.jsonl").read_text().splitlines()] == [1] * 4
    assert sorted(path.name for path in (out / "samples").iterdir()) == ["step-00000002.png", "step-00000004.png"]


def children(parent: int) -> list[int]:
    """Process ids of the ranks that a launcher has started, in the order of their start."""
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return sorted(pid for pid in pids if _parent(pid) == parent)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return -1


class Launched:
    """What refuse_unsupported reads of an accelerator."""

    def __init__(self, name: str) -> None:
        self.distributed_type: Any = type("Kind", (), {"name": name})


def test_ways_to_distribute_that_are_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU accelerate says MULTI_CPU though FSDP was asked for: the environment tells."""
    refuse_unsupported(Launched("NO"))
    refuse_unsupported(Launched("MULTI_CPU"))
    refuse_unsupported(Launched("MULTI_GPU"))
    with pytest.raises(GencoreError, match="launched with FSDP, which gencore does not take from accelerate.*--shard"):
        refuse_unsupported(Launched("FSDP"))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(GencoreError, match="launched with FSDP"):
        refuse_unsupported(Launched("MULTI_CPU"))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    refuse_unsupported(Launched("MULTI_CPU"))
    made = tiny_recipe("gan")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(GencoreError, match="launched with FSDP"):
        gencore.Trainer(made, tiny_source(made), cpu=True)
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    gencore.Trainer(made, tiny_source(made), cpu=True)


def test_processes_that_do_not_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher that says two, and nothing that joins them: an error, not two trainings."""
    made = tiny_recipe("gan")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(GencoreError, match="2 processes were started, but they found no way to work together"):
        gencore.Trainer(made, tiny_source(made), cpu=True)
