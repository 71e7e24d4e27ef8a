"""The held-out loss: of data that are not trained on, now and then, without touching the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import Formula, data, phase, recipe

import gencore
from gencore.data import arrays
from gencore.data.names import has_test_part
from gencore.errors import GencoreError
from gencore.training.heldout import HeldOut, check_apart
from gencore.training.metrics_log import MetricsLog, read_log
from gencore.training.run import RunSettings, train


def scaled(objective: Formula, model: Any, name: str, batch: Any) -> torch.Tensor:
    """theta times the mean of the data: its gradient is that mean."""
    return (model.theta * batch["x"].mean()).sum()


def test_the_loss_is_that_of_the_other_data_under_the_live_weights() -> None:
    seen: list[tuple[float | None, float]] = []

    class Look:
        def after_step(self, trainer: Any) -> None:
            found = trainer.metrics.get("heldout/generator")
            seen.append((None if found is None else found.item(), 100 * trainer.model.theta.item()))

    heldout = HeldOut(lambda: arrays(torch.full((8, 1), 100.0)), every=2, log_every=1, seed=0)
    made = recipe(scaled, phase("generator", learning_rate=0.01), steps=6)
    gencore.Trainer(made, data(), cpu=True, callbacks=(heldout, Look())).fit()
    assert [found for found, _ in seen[::2]] == [None] * 3
    assert [found for found, _ in seen[1::2]] == pytest.approx([wanted for _, wanted in seen[1::2]])
    assert len({wanted for _, wanted in seen}) == 6


@pytest.mark.parametrize(("every", "expected"), [(4, [4, 8]), (3, [4, 6, 10]), (7, [8])])
def test_it_stands_in_the_first_line_of_the_log_at_or_after_each_multiple(
    every: int, expected: list[int], tmp_path: Path
) -> None:
    heldout, log = HeldOut(data, every=every, log_every=2, seed=0), MetricsLog(tmp_path / "m.jsonl", every=2)
    gencore.Trainer(recipe(scaled, phase("generator"), steps=11), data(), cpu=True, callbacks=(heldout, log)).fit()
    lines = read_log(log.path)[0]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 11]
    assert [line["step"] for line in lines if "heldout/generator" in line] == expected


def settings(**changes: Any) -> RunSettings:
    chosen = {"system": "vae", "steps": 8, "batch_size": 16, "log_every": 2, "evaluate_every": 2, "checkpoint_every": 4}
    return RunSettings(**{**chosen, "set": ("hidden=[8]",), **changes})


def lines_of(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_a_run_with_it_and_one_without_end_in_the_same_weights_and_so_does_a_resume(tmp_path: Path) -> None:
    for name, chosen in (("with", settings()), ("without", settings(evaluate_every=0)), ("half", settings(steps=4))):
        train(chosen, tmp_path / name, quiet=True)
    train(settings(), tmp_path / "half", resume=True, quiet=True)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("with", "without", "half")]
    assert weights[0] == weights[1] == weights[2]
    assert lines_of(tmp_path / "half") == lines_of(tmp_path / "with")
    assert all("heldout/autoencoder" in line for line in lines_of(tmp_path / "with"))
    without = [{k: v for k, v in line.items() if "heldout" not in k} for line in lines_of(tmp_path / "with")]
    assert lines_of(tmp_path / "without") == without


def test_a_resume_may_change_it(tmp_path: Path) -> None:
    train(settings(steps=4), tmp_path / "r", quiet=True)
    train(settings(evaluate_every=0), tmp_path / "r", resume=True, quiet=True)
    assert ["heldout/autoencoder" in line for line in lines_of(tmp_path / "r")] == [True, True, False, False]


def test_by_default_it_stands_there_every_100_where_the_data_have_a_test_part(tmp_path: Path) -> None:
    chosen = {"evaluate_every": None, "steps": 101, "log_every": 100}
    train(settings(**chosen), tmp_path / "named", quiet=True)
    assert ["heldout/autoencoder" in line for line in lines_of(tmp_path / "named")] == [True, False]
    np.savez(tmp_path / "own.npz", x=np.random.default_rng(0).random((40, 1, 8, 8), dtype=np.float32) * 2 - 1)
    train(settings(**chosen, data=str(tmp_path / "own.npz")), tmp_path / "own", quiet=True)
    assert not any("heldout/autoencoder" in line for line in lines_of(tmp_path / "own"))


@pytest.mark.parametrize(
    ("word", "expected"),
    [("digits", True), ("mnist:/data", True), ("mnist:hf://datasets/a/b", False), ("/data/digits", False)],
)
def test_names_have_test_parts_and_paths_have_none(word: str, expected: bool) -> None:
    assert has_test_part(word) is expected


def test_data_without_a_part_of_their_own_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert check_apart(arrays(torch.ones(4, 1)), data())
    with pytest.raises(GencoreError, match="has no test part. Leave it out"):
        check_apart(data(), data())
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(GencoreError, match="one process only"):
        train(settings(), tmp_path / "r", quiet=True)
