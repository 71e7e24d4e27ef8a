"""A run and its resume: what may change, which data it goes on with, how it is made longer, and what it began from."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import gencore
from gencore.cli.app import app
from gencore.errors import GencoreError
from gencore.training.checkpoint import checkpoints, read
from gencore.training.run import RunSettings, load_settings, train

FEW: dict[str, Any] = {"system": "gan", "steps": 3, "batch_size": 4, "checkpoint_every": 1, "log_every": 1}


def settings(**changes: Any) -> RunSettings:
    return RunSettings(**FEW | {"set": ("hidden=[4]", "latent_dim=2"), "sample_every": 1000} | changes)


def weights(out: Path) -> bytes:
    return (out / "model.safetensors").read_bytes()


def numbers(folder: Path, seed: int = 0, count: int = 16) -> Path:
    """A file of small pictures."""
    folder.mkdir(exist_ok=True)
    drawn = np.random.default_rng(seed).uniform(-1, 1, (count, 1, 8, 8)).astype(np.float32)
    np.savez(folder / "data.npz", x=drawn)
    return folder / "data.npz"


@pytest.fixture
def done(tmp_path: Path) -> Path:
    """A run of three iterations on a file."""
    train(settings(data=str(numbers(tmp_path / "data"))), tmp_path / "run", quiet=True)
    return tmp_path / "run"


def command(*words: str) -> Any:
    return CliRunner().invoke(app, ["train", *words, "--quiet"])


def test_options_beside_a_resume_are_refused_by_name(done: Path) -> None:
    before = weights(done)
    outcome = command("--resume", "--out", str(done), "--steps", "5", "--precision", "bf16", "--seed", "9")
    assert isinstance(outcome.exception, GencoreError)
    assert "seed was 0, now 9; precision was 'no', now 'bf16'" in str(outcome.exception)
    assert (weights(done), load_settings(done).steps) == (before, 3)


def test_more_steps_are_an_extension(done: Path, tmp_path: Path) -> None:
    """To the bits of a run that was as long from the beginning; the new length stands in run.json."""
    outcome = command("--resume", "--out", str(done), "--steps", "5", "--keep", "1")
    assert outcome.exit_code == 0, outcome.output
    whole = settings(data=str(tmp_path / "data" / "data.npz"), steps=5, keep=1)
    train(whole, tmp_path / "whole", quiet=True)
    assert weights(done) == weights(tmp_path / "whole")
    assert load_settings(done) == whole
    assert len(checkpoints(done / "checkpoints")) == 1
    with pytest.raises(GencoreError, match=r"has done 5 iterations of stage .*Ask for 5 or more"):
        train(dataclasses.replace(whole, steps=2), done, resume=True, quiet=True)
    assert load_settings(done).steps == 5


def test_data_must_be_the_same_wherever_they_lie(done: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.npz"
    shutil.copy(tmp_path / "data" / "data.npz", moved)
    for seed, count in ((1, 16), (0, 8)):  # exchanged, halved
        numbers(tmp_path / "data", seed, count)
        with pytest.raises(GencoreError, match="cannot be resumed: .* is not what this run has trained on") as caught:
            train(load_settings(done), done, resume=True, quiet=True)
        assert ("count is 8 and was 16" in str(caught.value)) == (count == 8)
    (tmp_path / "data" / "data.npz").unlink()
    with pytest.raises(GencoreError, match=r"data\.npz does not exist"):
        train(load_settings(done), done, resume=True, quiet=True)
    outcome = command("--resume", "--out", str(done), "--data", str(moved))
    assert outcome.exit_code == 0, outcome.output
    assert load_settings(done).data == str(moved)


def test_relative_paths_are_taken_from_where_they_were_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers(tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    outcome = command("gan", "--data", "data/data.npz", "--out=~/run", "--steps", "1", "--batch-size", "4")
    assert outcome.exit_code == 0, outcome.output
    assert not (tmp_path / "~").exists()
    assert load_settings(tmp_path / "run").data == str(tmp_path / "data" / "data.npz")
    monkeypatch.chdir(tmp_path / "elsewhere")
    train(load_settings(tmp_path / "run"), tmp_path / "run", resume=True, quiet=True)


def test_the_data_stand_in_the_run_and_in_the_checkpoint(done: Path) -> None:
    recorded = json.loads((done / "run.json").read_text())["fingerprint"]
    assert (recorded["count"], recorded["shape"]) == (16, [1, 8, 8])
    assert read(checkpoints(done / "checkpoints")[-1]).values["training"]["data"] == recorded


def test_a_run_begins_from_trained_weights(done: Path, tmp_path: Path) -> None:
    """With a rate of nothing it publishes them; of another kind, or for other data, they are refused by name."""
    still = settings(data=str(tmp_path / "data" / "data.npz"), init_from=str(done), seed=5, steps=1)
    still = dataclasses.replace(still, set=("hidden=[4]", "latent_dim=2", "learning_rate=1e-12"))
    train(still, tmp_path / "tuned", quiet=True)
    first, tuned = gencore.from_pretrained(done).state_dict(), gencore.from_pretrained(tmp_path / "tuned").state_dict()
    for name, tensor in first.items():
        torch.testing.assert_close(tuned[name], tensor, rtol=0, atol=1e-6)
    shutil.rmtree(done)  # the resume needs it no more
    train(dataclasses.replace(still, steps=2), tmp_path / "tuned", resume=True, quiet=True)
    unfit = dataclasses.replace(still, init_from=str(tmp_path / "tuned"))
    with pytest.raises(
        GencoreError, match=r"does not fit the data and settings: hidden is \(4,\) there and \(8,\) here"
    ):
        train(dataclasses.replace(unfit, set=("hidden=[8]",)), tmp_path / "a", quiet=True)
    with pytest.raises(GencoreError, match="holds a DenseGAN; ddpm trains a DDPM"):
        train(RunSettings(system="ddpm", init_from=unfit.init_from), tmp_path / "b", quiet=True)


def test_a_schedule_that_depends_on_the_length_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """DANN's rates and its reversal follow p = iteration / iterations: a longer run changes them, and says so."""
    mine = RunSettings(system="dann", steps=2, batch_size=4, checkpoint_every=1, set=("width=2",))
    train(mine, tmp_path / "run", quiet=True)
    capsys.readouterr()
    train(dataclasses.replace(mine, steps=4), tmp_path / "run", resume=True, quiet=True)
    told = capsys.readouterr().err
    assert "The new number of iterations changes, from iteration 2 on: stages.0: " in told
    assert read(checkpoints(tmp_path / "run" / "checkpoints")[-1]).values["step"] == 4
