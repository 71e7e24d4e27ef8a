"""`gencore diagnose` on real run directories: what it finds, what it finds sound, and what it cannot judge."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from gencore.cli.app import app
from gencore.diagnosis.evidence import Evidence
from gencore.diagnosis.finding import Finding
from gencore.diagnosis.report import CHECKS, diagnose
from gencore.errors import GencoreError, NonFiniteError
from gencore.training.checkpoint import checkpoints, read, write
from gencore.training.metrics_log import read_log
from gencore.training.run import RunSettings, train


def run(folder: Path, system: str, *, steps: int = 60, **settings: Any) -> Path:
    train(RunSettings(system=system, steps=steps, log_every=3, **settings), folder, quiet=True)
    return folder


def judged(name: str, evidence: Evidence) -> Finding:
    return next(check for check in CHECKS if check.name == name).judge(evidence)


def verdicts(evidence: Evidence) -> dict[str, str]:
    return {verdict.name: verdict.verdict for verdict in diagnose(evidence)}


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs") / "vae", "vae", steps=150, set=("hidden=[64]",))


def test_a_sound_run_has_none_of_the_failures(vae: Path) -> None:
    found = verdicts(Evidence(vae))
    assert len(found) == len(CHECKS) == 15
    assert {name for name, verdict in found.items() if verdict == "found"} <= {"few-classes"}
    assert {name for name, verdict in found.items() if verdict == "fine"} >= {
        "not-a-number",
        "data-range-wrong",
        "not-learning",
        "learning-rate-too-high",
        "gradient-exploded",
        "one-picture",
        "posterior-collapse",
    }


def test_nothing_is_touched(vae: Path) -> None:
    files = {path: path.read_bytes() for path in vae.rglob("*") if path.is_file()}
    torch.manual_seed(0)
    before = torch.get_rng_state()
    verdicts(Evidence(vae))
    assert torch.equal(torch.get_rng_state(), before)
    assert {path: path.read_bytes() for path in vae.rglob("*") if path.is_file()} == files


def test_a_learning_rate_that_is_next_to_nothing(tmp_path: Path) -> None:
    found = verdicts(Evidence(run(tmp_path / "r", "vae", set=("hidden=[64]", "learning_rate=1e-9"))))
    assert found["not-learning"] == "found"
    assert found["learning-rate-too-high"] == "fine"


def test_a_learning_rate_that_is_far_too_high(tmp_path: Path) -> None:
    folder = run(tmp_path / "r", "deep-autoencoder", set=("hidden=[64]", "learning_rate=0.5"))
    found = verdicts(Evidence(folder))
    assert (found["learning-rate-too-high"], found["not-learning"]) == ("found", "fine")


def test_a_run_that_stopped_on_no_number_says_why(tmp_path: Path) -> None:
    too_high = RunSettings(system="vae", steps=60, log_every=3, set=("hidden=[64]", "learning_rate=1e6"))
    with pytest.raises(NonFiniteError):
        train(too_high, tmp_path / "r", quiet=True)
    first = next(diagnose(Evidence(tmp_path / "r")))
    assert (first.name, first.verdict) == ("not-a-number", "found")
    assert "is not finite at iteration" in first.measured
    assert "stopped" in read_log(tmp_path / "r" / "metrics.jsonl")[0][-1]
    with pytest.raises(NonFiniteError):
        train(
            RunSettings(system="vae", steps=60, log_every=3, set=("hidden=[64]", "learning_rate=1e6")), tmp_path / "r"
        )
    lines, _ = read_log(tmp_path / "r" / "metrics.jsonl")
    assert sum("stopped" in line for line in lines) == 1, "a run that begins anew drops the line"


def test_a_class_that_is_asked_for_and_not_drawn(tmp_path: Path) -> None:
    evidence = Evidence(run(tmp_path / "r", "cgan", steps=2))
    assert verdicts(evidence)["labels-ignored"] == "found"
    again = Evidence(tmp_path / "r")
    assert again.condition is not None
    x, label = again.neighbours
    again.__dict__["samples"] = torch.stack([x[label == wanted][0] for wanted in again.condition])
    assert verdicts(again)["labels-ignored"] == "fine"


def test_a_codebook_of_a_run(tmp_path: Path) -> None:
    evidence = Evidence(run(tmp_path / "r", "vq-vae", steps=2, set=("width=8", "prior_width=8")), n=100)
    with torch.no_grad():
        evidence.model.codebook.vectors[1:] = 1e3
    assert judged("dead-codes", evidence).measured.startswith("1 of 64 codes in use")


def test_an_average_of_a_run(tmp_path: Path) -> None:
    folder = run(tmp_path / "r", "edm", steps=8, set=("width=8",))
    evidence = Evidence(folder)
    assert not judged("average-behind", evidence).found
    state, first = read(checkpoints(folder / "checkpoints")[-1]), evidence.initial.state_dict()
    further = {f"model/{name}": first[name] + 9 * (state.tensors[f"model/{name}"] - first[name]) for name in first}
    write(folder / "checkpoints", 9, dataclasses.replace(state, tensors={**state.tensors, **further}), keep=1)
    assert judged("average-behind", Evidence(folder)).found


def test_what_cannot_be_judged_says_why(tmp_path: Path) -> None:
    folder = run(tmp_path / "r", "gan", steps=2, data="ring")
    said = {verdict.name: verdict for verdict in diagnose(Evidence(folder))}
    assert said["posterior-collapse"].measured == "the model has no encoder"
    assert said["average-behind"].measured == "the recipe keeps no average"
    assert said["not-learning"].measured == "several phases or stages share the training"
    assert "fewer than 10 lines" in said["gradient-exploded"].measured


def test_the_command_prints_a_table_and_json(vae: Path) -> None:
    done = CliRunner().invoke(app, ["diagnose", str(vae), "--json", "-n", "100"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.output)
    assert [row["failure"] for row in rows] == [check.name for check in CHECKS]
    done = CliRunner().invoke(app, ["diagnose", str(vae), "-n", "100"])
    assert "failures that could be judged were found." in done.output
    for words, message in ((["-n", "5"], "expected at least 20"), ([], "no run.json")):
        folder = vae if words else vae.parent
        done = CliRunner().invoke(app, ["diagnose", str(folder), *words])
        assert isinstance(done.exception, GencoreError)
        assert message in str(done.exception)
