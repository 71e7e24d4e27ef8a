"""The short forms of `python -m tools.faults fuzz`, and a harness that sees what it is to see."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st

from gencore.errors import GencoreError
from tools import faults_fuzz

from .fuzzing import Fuzzing

NOBODY = 65534
OF_PLACES = (
    *(faults_fuzz._places_of_models, faults_fuzz._places_of_data),
    *(faults_fuzz._checkpoints, faults_fuzz._runs),
)


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


def as_nobody(part: Callable[[Fuzzing, Path, int], None], count: int) -> list[Any]:
    """The rows of a part that another user runs, in a process of a fork server: a fork of this one, which has computed,
    may hang for ever."""
    with tempfile.TemporaryDirectory() as shared:  # pytest's own folders are closed to other users
        os.chmod(shared, 0o777)
        server = multiprocessing.get_context("forkserver")
        process = server.Process(target=_become_nobody, args=(part, count, shared))
        process.start()
        process.join(300)
        hung = process.is_alive()
        process.kill()
        assert not hung, "it did not end within 300 seconds"
        rows = json.loads(Path(shared, "rows.json").read_text())
    assert isinstance(rows, list), rows
    return rows


def _become_nobody(part: Callable[[Fuzzing, Path, int], None], count: int, shared: str) -> None:
    """Run the part as another user, for whom Python's own folders may be closed: once as root before, so that what it
    imports has been imported."""
    torch.set_num_threads(1)
    rows: Any = "it ended before its end"
    answer = os.open(Path(shared, "rows.json"), os.O_CREAT | os.O_WRONLY)
    try:
        with tempfile.TemporaryDirectory() as own:
            part(Fuzzing(seed=2), Path(own, "root"), count)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        run = Fuzzing(seed=2)
        part(run, Path(shared, "root"), count)
        rows = run.rows
    except BaseException as error:
        rows = repr(error)
    finally:
        os.write(answer, json.dumps(rows).encode())
        os._exit(0)


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
@pytest.mark.filterwarnings("ignore:.*left out")
def test_short_forms(run: Fuzzing, part: Callable[[Fuzzing, Path, int], None], count: int, tmp_path: Path) -> None:
    """About ten cases of each kind; as root, then as another user, too, where places are what is odd."""
    part(run, tmp_path / "root", count)
    rows = list(run.rows)
    if os.geteuid() == 0 and part in OF_PLACES:
        rows += as_nobody(part, count)
    assert rows
    assert [row for row in rows if row["failures"]] == []
    assert all(row["cases"] >= 8 for row in rows)
