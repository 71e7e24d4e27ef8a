"""The table of GANs: what is kept between runs, how the rows stand, and the command on digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gencore.errors import GencoreError
from tools import gan_table
from tools.gan_table import BEGIN, END, Setting, main, rows, table, written

SETTING = Setting(data="mnist:somewhere", image_size=16, share=0.01)


def row(system: str, distance: float) -> dict[str, Any]:
    figures = {name: [distance, distance - 1, distance + 1] for name in ("frechet", "precision", "recall")}
    return {
        "system": system,
        "settings": {"steps": 1000},
        "batch_size": 64,
        "seconds": 12.4,
        "real": 0.25,
        **figures,
    }


def test_the_nearest_to_the_data_stands_first() -> None:
    """And the folder of the data is nobody's business."""
    text = table(SETTING, [row("dcgan", 9.0), row("sn-gan", 4.0)])
    lines = text.splitlines()
    assert lines[2] == "| `sn-gan` | 4.00 | 3.00 to 5.00 | 4.00 | 4.00 | 1,000 | 64 | - | 12 |"
    assert lines[3].startswith("| `dcgan` | 9.00 |")
    assert "somewhere" not in text
    assert "0.25 apart" in text


def test_what_is_measured_is_kept_until_the_setting_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(system: str, setting: Setting) -> dict[str, Any]:
        measured.append((system, setting.seed))
        if system == "wgan-gp" and len(measured) < 6:
            raise KeyboardInterrupt
        return row(system, 1.0) | {"settings": setting.arguments(system)}

    monkeypatch.setattr(gan_table, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        rows(SETTING, tmp_path)
    assert len(measured) == 5
    assert [one["system"] for one in rows(SETTING, tmp_path)] == list(gan_table.SYSTEMS)
    assert [system for system, _ in measured[5:]] == ["wgan-gp"]
    rows(Setting(data="mnist:elsewhere", image_size=16, share=0.01), tmp_path)
    assert len(measured) == 6, "the same data from another folder"
    rows(Setting(data="mnist:somewhere", image_size=16, share=0.01, seed=1), tmp_path)
    assert [seed for _, seed in measured[6:]] == [1] * 5


def test_the_rest_of_the_page_is_kept() -> None:
    page = f"# Which\n\nBefore.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n"
    assert written(page, "new") == f"# Which\n\nBefore.\n\n{BEGIN}\nnew\n{END}\n\nAfter.\n"
    assert written("# Which\n", "new") == f"# Which\n\n{BEGIN}\nnew\n{END}\n"


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One step each of two systems on the digits: real figures, in the file and on the screen."""
    few = {name: gan_table.SYSTEMS[name] for name in ("dcgan", "gan-r1")}
    monkeypatch.setattr(gan_table, "SYSTEMS", few)
    page = tmp_path / "gans.md"
    given = ["--share", "1e-6", "--image-size", "8", "--samples", "16", "--runs", str(tmp_path), "-o", str(page)]
    assert main(given) == 0
    made = capsys.readouterr().out
    assert made.strip() in page.read_text()
    assert made.count("| 1 | 64 |") == 2
    distances = [float(line.split("|")[2]) for line in made.splitlines()[2:4]]
    assert min(distances) > 1, "after one step they are far from digits"
    assert distances == sorted(distances)


def test_refusals(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GencoreError, match="share is 0"):
        Setting(data="digits", image_size=8, share=0)
    assert main(["--samples", "3"]) == 1
    assert "samples is 3" in capsys.readouterr().err
