"""The commands of docs/text.md that need a book; its other blocks run with those of the other pages."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import gencore
from gencore.cli.app import app

PAGE = Path(__file__).parents[3] / "docs" / "text.md"


def test_training_on_a_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text("It was the best of times, it was the worst of times.\n" * 40)
    Path("books").mkdir()
    Path("books/one.txt").write_text(Path("book.txt").read_text())
    (block,) = re.findall(r"^```\n(gencore .*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        program, *words = shlex.split(line)
        assert program == "gencore"
        result = CliRunner().invoke(app, [*words, "--steps", "2", "--batch-size", "2", "-q"])
        assert result.exit_code == 0, (line, result.output, result.exception)
    book, vectors = (gencore.from_pretrained(f"runs/{name}") for name in ("book", "words"))
    assert book.config.data_shape == (64, 256)
    assert vectors.config.data_shape == (32, 11)
