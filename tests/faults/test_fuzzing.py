"""The short forms of `python -m tools.faults fuzz`, and a harness that sees what it is to see."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from gencore.errors import GencoreError
from tools import faults_fuzz

from .fuzzing import Fuzzing


@pytest.fixture(scope="module")
def watching() -> Fuzzing:
    """A process keeps a watch for ever: one for all."""
    return Fuzzing(seed=1)


@pytest.fixture
def run(watching: Fuzzing) -> Fuzzing:
    watching.rows.clear()
    return watching


def refusing(value: object) -> None:
    raise GencoreError("no")


def foreign(value: object) -> None:
    raise KeyError("not ours")


@pytest.mark.parametrize(
    ("call", "options", "failure"),
    [
        (refusing, {}, None),
        (foreign, {}, "KeyError: 'not ours' for 1"),
        (lambda value: None, {}, None),
        (lambda value: None, {"may_be_taken": False}, "it was taken for 1"),
        (refusing, {"may_be_taken": False}, None),
        (refusing, {"unchanged": lambda: False}, "something was changed that must stay for 1"),
        (lambda value: os.rmdir(os.mkdir("/nowhere/else")), {}, "FileNotFoundError"),
        (lambda value: open(os.devnull, "w").close(), {}, "open ('/dev/null', 'w'"),
        (lambda value: open(os.devnull, "w").close(), {"watched": False}, None),
    ],
)
def test_the_harness_sees(
    run: Fuzzing, call: Callable[[Any], object], options: dict[str, Any], failure: str | None
) -> None:
    run.values("it", call, st.just(1), 1, **options)
    (row,) = run.rows
    assert row["cases"] == 1
    assert (failure is None) == (row["failures"] == [])
    assert failure is None or row["failures"][0].startswith(failure)


@pytest.mark.parametrize(
    ("part", "count"),
    [
        (faults_fuzz._places_of_models, 250),
        (faults_fuzz._data, 900),
        (faults_fuzz._places_of_data, 500),
        (faults_fuzz._checkpoints, 1000),
        (faults_fuzz._runs, 400),
        (faults_fuzz._texts, 500),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_short_forms(run: Fuzzing, part: Callable[[Fuzzing, Path, int], None], count: int, tmp_path: Path) -> None:
    """About ten cases of each kind; new ones by the seed are for the long form."""
    part(run, tmp_path / "root", count)
    assert run.rows
    assert [row for row in run.rows if row["failures"]] == []
    assert all(row["cases"] >= 8 for row in run.rows)
