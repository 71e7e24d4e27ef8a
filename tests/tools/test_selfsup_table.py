"""The table of self-supervision: one encoder in seven rows, what follows from them, and the command on digits."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from gencore.errors import GencoreError
from tools import selfsup_table
from tools.selfsup_table import ROWS, Row, Setting, findings, main


def digits_of(steps: int, labels: int = 100) -> Setting:
    arguments = argparse.Namespace(
        data="digits", image_size=8, pictures=1400, test_pictures=397, labels=labels, steps=steps
    )
    return selfsup_table.settings_of(arguments)


def test_every_row_has_the_same_encoder() -> None:
    """Layer for layer, and it takes whole pictures; all but the untrained one judge their own task."""
    setting = digits_of(1)
    shapes = set()
    for name, _, train in ROWS:
        encoder, task, figure = train(setting, 0)
        shapes.add(tuple(tuple(p.shape) for p in encoder.parameters()))
        assert encoder(setting.test.x[:3]).shape == (3, setting.code_dim)
        assert (figure is None) == (task == "") == (name == "random weights")
    assert len(ROWS) == 7
    assert len(shapes) == 1


def row(name: str, *probe: float) -> Row:
    return Row(name=name, supervision="", probe=probe)


def test_findings_need_a_difference_beyond_both_spreads() -> None:
    """a is better than random weights, b within the spreads, c worse; nothing is better than labels."""
    rows = [row("labels", 0.95, 0.97), row("random weights", 0.6, 0.62), row("a", 0.8, 0.81), row("b", 0.6, 0.66)]
    rows += [row("c", 0.5, 0.5), row("no encoder", 0.8, 0.82)]
    beside_labels, beside_random, beside_raw = findings(rows).splitlines()
    assert beside_labels == "- Beside labels: better: none; worse: random weights, a, b, c; neither: none."
    assert beside_random == "- Beside random weights: better: a; worse: c; neither: b."
    assert beside_raw == "- Beside raw pixels: better: none; worse: random weights, b, c; neither: a."


def test_the_probe_sees_as_many_labels_as_it_says() -> None:
    """Evenly of every class, others for another seed; and the codes of pictures that are labels read perfectly."""
    setting = digits_of(1, labels=20)
    seen: list[torch.Tensor] = []

    def encode(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x.flatten(1)

    for seed in (0, 1):
        assert 0.3 < selfsup_table.probed(encode, setting, seed) < 1
    assert [len(x) for x in seen] == [20, 397, 20, 397]
    assert not torch.equal(seen[0], seen[2])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All rows, raw pixels beside them, what it does not show; the same text in the file."""
    out = tmp_path / "table.md"
    assert main(["--steps", "1", "--seeds", "2", "--image-size", "8", "--labels", "20", "-o", str(out)]) == 0
    text = out.read_text()
    assert text == capsys.readouterr().out
    for name in (*(name for name, _, _ in ROWS), "no encoder", "What it does not show"):
        assert name in text
    assert text.count(" ± ") == 8 + 6


def test_refusals(capsys: pytest.CaptureFixture[str]) -> None:
    """Data without labels, no seeds, no steps."""
    for given, message in (
        (["--data", "moons"], "image_size"),
        (["--seeds", "0"], "seeds is 0"),
        (["--steps", "0"], "steps is 0"),
    ):
        assert main(given) == 1
        assert message in capsys.readouterr().err
    setting = digits_of(1)
    unlabelled = selfsup_table.InMemory(x=setting.train.x)
    with pytest.raises(GencoreError, match="has no labels"):
        Setting(train=unlabelled, test=setting.test, steps=1)
