"""The data's name in a run's settings means the same in every working directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from gencore.training.settings import lasting


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("text:book.txt", "text:{here}/book.txt"),
        ("text:book.txt,words,32", "text:{here}/book.txt,words,32"),
        ("text:a,b.txt,bpe300", "text:{here}/a,b.txt,bpe300"),
        ("sound:speech,8000,0.1", "sound:{here}/speech,8000,0.1"),
        ("spectrograms:speech", "spectrograms:{here}/speech"),
        ("paired:speech", "paired:{here}/speech"),
        ("book.txt", "{here}/book.txt"),
        ("text:hf://datasets/a/b,words", "text:hf://datasets/a/b,words"),
        ("sound:nowhere,8000", "sound:nowhere,8000"),
        ("digits", "digits"),
    ],
)
def test_paths_become_absolute(word: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "speech").mkdir()
    for name in ("book.txt", "a,b.txt"):
        (tmp_path / name).write_text("x")
    assert lasting(word) == expected.format(here=tmp_path)
