"""`gencore evaluate` and `gencore compare`, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

import gencore
from gencore.cli.evaluate import register
from gencore.errors import GencoreError


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)
    register(made)
    return made


@pytest.fixture
def gan(tmp_path: Path) -> str:
    torch.manual_seed(0)
    gencore.create("gan", hidden=[8]).save_pretrained(tmp_path / "gan")
    return str(tmp_path / "gan")


def run(app: typer.Typer, *words: object) -> str:
    """What the command says. Its errors come through."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def evaluated(app: typer.Typer, model: str, out: Path, *words: object) -> str:
    return run(app, "evaluate", model, "--data", "digits", "--n", 16, "--resamples", 3, "--json", out, *words)


def test_figures_with_their_provenance(app: typer.Typer, gan: str, tmp_path: Path) -> None:
    said = evaluated(app, gan, tmp_path / "a.json", "--n-real", 40)
    for word in ("frechet", "coverage", "extractor_sha256", "left out nll", "extrapolated", "drawn by seed 0"):
        assert word in said
    stored = json.loads((tmp_path / "a.json").read_text())
    assert [figure["name"] for figure in stored["figures"]] == [
        *("frechet", "kid", "precision", "recall", "density", "coverage")
    ]
    assert stored["model"]["name"] == gan
    assert stored["figures"][0]["measured"]["n_real"] == 40
    assert stored["figures"][0]["drawn"]["weights"] == "not recorded"


def test_compare_ranks_and_refuses(app: typer.Typer, gan: str, tmp_path: Path) -> None:
    same, again, other = (tmp_path / f"{name}.json" for name in "abc")
    evaluated(app, gan, same, "--n-real", 40, "--metrics", "frechet")
    evaluated(app, gan, again, "--n-real", 40, "--metrics", "frechet")
    evaluated(app, gan, other, "--n-real", 30, "--metrics", "frechet")
    assert "intervals overlap" in run(app, "compare", same, again)
    with pytest.raises(GencoreError, match="frechet do not compare: real_digest, n_real differ"):
        run(app, "compare", same, other)


def test_a_runs_weights_are_named(app: typer.Typer, tmp_path: Path) -> None:
    from gencore.cli.evaluate import _weights
    from gencore.training.run import RunSettings
    from gencore.training.settings import store

    for system, expected in (("ddpm", "averages of"), ("gan", "live")):
        (tmp_path / system).mkdir()
        store(RunSettings(system=system), {}, tmp_path / system)
        assert _weights(str(tmp_path / system)).startswith(expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--metrics", "fid"), "no metric 'fid'"),
        (("--metrics", "nll"), "no likelihood"),
        (("--extractor", "vgg"), "expected bundled"),
        (("--json", "a.txt"), r"ends in \.json"),
        (("--sampler", "ddim"), "no sampler 'ddim'"),
        (("--truncation", "0.5"), "truncation"),
    ],
)
def test_bad_options_are_named(app: typer.Typer, gan: str, words: tuple, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        run(app, "evaluate", gan, "--data", "digits", "--n", 16, *words)


def test_no_report(app: typer.Typer, tmp_path: Path) -> None:
    with pytest.raises(GencoreError, match="no file"):
        run(app, "compare", tmp_path / "a.json", tmp_path / "b.json")
