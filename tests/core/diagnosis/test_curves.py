"""Curves of runs: what is drawn is what was logged, seeds become a band, bad requests are named."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from gencore.cli.app import app
from gencore.diagnosis.curves import Run, as_png, curve, draw_curves, grouped, metrics_of, read_run
from gencore.errors import GencoreError, PluginError
from gencore.training.settings import RunSettings, store


def run(name: str = "a", losses: dict[int, float] | None = None, **settings: Any) -> Run:
    losses = losses or {10: 4.0, 20: 2.0, 30: 1.0}
    lines = tuple({"step": step, "stage": "training", "seconds": 0.1, "p/loss": loss} for step, loss in losses.items())
    return Run(name=name, settings=RunSettings(system="vae", **settings), lines=lines)


def written(one: Run, folder: Path) -> Path:
    folder.mkdir()
    store(one.settings, {}, folder)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in one.lines))
    return folder


def test_runs_that_differ_in_the_seed_alone_are_one_group() -> None:
    runs = [run("a"), run("b", seed=1), run("c", set=("beta=2",)), run("d", seed=2, keep=9), run("e", data="photos")]
    assert {name: [one.name for one in own] for name, own in grouped(runs).items()} == {
        "a (3 runs)": ["a", "b", "d"],
        "c": ["c"],
        "e": ["e"],
    }


def test_seeds_are_a_band_over_the_iterations_that_all_have() -> None:
    made = curve("x", [run(losses={10: 4.0, 20: 2.0, 30: 1.0}), run(losses={10: 6.0, 20: 1.0})], "p/loss")
    assert made is not None
    assert made.steps.tolist() == [10, 20]
    assert made.mean.tolist() == [5.0, 1.5]
    assert made.low.tolist() == [4.0, 1.0]
    assert made.high.tolist() == [6.0, 2.0]
    assert curve("x", [run(losses={10: 1.0}), run(losses={20: 1.0})], "p/loss") is None
    assert curve("x", [run()], "q/loss") is None


def test_smoothing_is_a_mean_over_the_lines_so_far() -> None:
    made = curve("x", [run()], "p/loss", smooth=2)
    assert made is not None
    assert made.mean.tolist() == [4.0, 3.0, 1.5]


def test_the_figure_shows_each_metric_and_each_group() -> None:
    second = run("b", {10: 5.0, 20: 3.0, 30: 2.0}, seed=1)
    other = dataclasses.replace(
        run("c", set=("beta=2",)), lines=({"step": 10, "stage": "training", "p/kl": 0.5, "p/loss": 1000.0},)
    )
    figure = draw_curves([run("a"), second, other])
    assert [axes.get_title() for axes in figure.axes] == ["p/loss", "p/kl"]
    lines = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].get_lines()}
    assert lines == {"a (2 runs)": [4.5, 2.5, 1.5], "c": [1000.0]}
    assert len(figure.axes[0].collections) == 1, "one band, of the two seeds"
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[1].get_yscale() == "linear"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a (2 runs)", "c"]
    with Image.open(io.BytesIO(as_png(figure))) as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50


def test_not_a_number_is_left_out_of_a_curve() -> None:
    figure = draw_curves([run(losses={10: 1.0, 20: float("nan"), 30: 2.0})])
    as_png(figure)
    assert np.isnan(figure.axes[0].get_lines()[0].get_ydata()).tolist() == [False, True, False]


def test_unknown_metrics_and_bad_numbers_are_named() -> None:
    assert metrics_of([run()]) == ("p/loss",)
    with pytest.raises(GencoreError, match=r"No run has logged 'p/los'. Did you mean 'p/loss'"):
        draw_curves([run()], metrics=["p/los"])
    with pytest.raises(GencoreError, match="smooth is 0; expected at least 1"):
        draw_curves([run()], smooth=0)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(PluginError, match=r'pip install "gencore\[plot\]"'):
        draw_curves([run()])


def test_a_run_without_a_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(GencoreError, match="no run.json"):
        read_run(tmp_path)
    folder = written(dataclasses.replace(run(), lines=()), tmp_path / "r")
    with pytest.raises(GencoreError, match="holds no line yet"):
        read_run(folder)


def test_the_command_writes_a_picture(tmp_path: Path) -> None:
    folders = [written(run(seed=seed), tmp_path / f"r{seed}") for seed in (0, 1)]
    out = tmp_path / "c.png"
    done = CliRunner().invoke(app, ["plot", *map(str, folders), "--smooth", "2", "--metric", "p/loss", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert f"Wrote 1 curves of 2 runs in 1 colours to {out}." in done.output
    first = out.read_bytes()
    assert CliRunner().invoke(app, ["plot", *map(str, folders), "-o", str(out)]).exit_code == 0
    assert out.read_bytes() != first
    done = CliRunner().invoke(app, ["plot", str(folders[0]), "-o", str(tmp_path / "c.jpg")])
    assert isinstance(done.exception, GencoreError)
    assert ".png" in str(done.exception)
