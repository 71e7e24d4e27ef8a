"""SECURITY.md: each promise names tests that are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line.strip("| ").split(" | ")
    for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and "`" in line.rpartition(" | ")[2]
]


def test_there_are_promises() -> None:
    assert len(ROWS) >= 20
    assert all(len(row) == 2 for row in ROWS)


@pytest.mark.parametrize(("promise", "commands"), ROWS, ids=[row[0][:40] for row in ROWS])
def test_a_promise_names_tests_that_are_there(promise: str, commands: str) -> None:
    for command in re.findall(r"`([^`]+)`", commands):
        words = shlex.split(command)
        if words[0] == "python":
            assert words[1] == "-m"
            assert (ROOT / words[2].replace(".", "/")).with_suffix(".py").is_file()
            continue
        assert words[0] == "pytest"
        chosen = words[words.index("-k") + 1].split(" or ") if "-k" in words else ["test_"]
        files = [ROOT / word for word in words[1:] if word.startswith("tests/")]
        names = [re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE) for file in files]
        assert files
        for file, tests in zip(files, names, strict=True):
            assert any(word in name for word in chosen for name in tests), file
        assert all(any(word in name for tests in names for name in tests) for word in chosen)
