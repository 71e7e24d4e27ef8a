"""The gate over benchmark results, on made-up runs: it fails on lost ratios and exactness, not on slow machines."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from bench.conftest import exponent, merge
from bench.report import growth_table, main, regressions, shown, table


def contestant(name: str, ratio: float, milliseconds: float, error: float) -> dict[str, Any]:
    return {
        "name": name,
        "ratio": ratio,
        "milliseconds": milliseconds,
        "median_over_best": 1.0,
        "error": error,
        "peak_bytes": 0,
    }


def result(error: float = 0.0) -> dict[str, Any]:
    contestants = [contestant("gencore", 1.0, 2.0, error), contestant("peer", 4.0, 8.0, 31.0)]
    row = {"operation": "look_up", "case": "8x4", "tests": "passed", "error_unit": "wrong rows"}
    return {"rows": [{**row, "contestants": contestants}]}


def test_a_run_is_no_regression_of_itself_nor_on_a_slower_machine() -> None:
    slower = result()
    for entry in slower["rows"][0]["contestants"]:
        entry["milliseconds"] *= 10
    assert regressions(result(), result()) == []
    assert regressions(result(), slower) == []


@pytest.mark.parametrize(("ratio", "problems"), [(2.81, 0), (2.79, 1), (9.0, 0)])
def test_a_ratio_may_fall_to_seventy_per_cent(ratio: float, problems: int) -> None:
    run = result()
    run["rows"][0]["contestants"][1]["ratio"] = ratio
    assert len(regressions(result(), run)) == problems


@pytest.mark.parametrize(
    ("before", "after", "problems"),
    [(0.0, 1e-9, 1), (0.0, 0.0, 0), (1e-6, 1.9e-6, 0), (1e-6, 2.1e-6, 1), (1e-6, float("nan"), 1)],
)
def test_ours_must_stay_exact(before: float, after: float, problems: int) -> None:
    assert len(regressions(result(before), result(after))) == problems


def test_the_peers_errors_are_their_own() -> None:
    run = result()
    run["rows"][0]["contestants"][1]["error"] = 1e6
    assert regressions(result(), run) == []


def test_missing_rows_and_peers_are_named() -> None:
    run = copy.deepcopy(result())
    run["rows"][0]["contestants"].pop()
    assert regressions(result(), run) == ["look_up / 8x4 / peer: missing from the run"]
    assert regressions(result(), {"rows": []}) == ["look_up / 8x4: missing from the run"]


def test_our_other_contestants_are_free() -> None:
    runs = result(), result()
    for run, ratio in zip(runs, (2.0, 0.1), strict=True):
        run["rows"][0]["contestants"].append(contestant("gencore, backend torch", ratio, 2.0 * ratio, 0.0))
    assert regressions(*runs) == []


def test_the_table_has_a_peers_time_over_ours() -> None:
    row = result()["rows"][0]
    assert "| peer | 4.00x | 8.000 |" in "\n".join(table([row]))
    assert "x" not in "".join(line.split("|")[4] for line in table([row | {"tests": "not run"}]))


def test_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(result()))
    bad.write_text(json.dumps(result(error=3.0)))
    assert main(["--gate", str(good), str(good)]) == 0
    assert main(["--gate", str(good), str(bad)]) == 1
    assert "error 3 wrong rows, the baseline has 0" in capsys.readouterr().out
    assert main(["--table", str(good)]) == 0
    assert "| look_up | 8x4 | **gencore** |" in capsys.readouterr().out


def test_the_plot_shows_peers() -> None:
    run = result()
    run["rows"][0]["contestants"].insert(1, contestant("gencore, backend torch", 2.0, 4.0, 0.0))
    assert shown(run) == {"look_up  8x4  peer": 4.0}
    run["rows"][0]["tests"] = "not run"
    assert shown(run) == {}


def growth(time: float = 1.0) -> dict[str, Any]:
    row = {"path": "look_up", "over": "N", "sizes": [1, 2], "milliseconds": [1.0, 2.0], "peak_bytes": [10, 20]}
    exponents = {"time_exponent": time, "memory_exponent": 1.0, "time_bar": 1.15, "memory_bar": 1.15}
    return {**result(), "growth": [{**row, **exponents}]}


def test_a_cost_that_grows_faster_than_it_may_is_a_regression() -> None:
    assert regressions(growth(), growth(1.1)) == []
    assert regressions(growth(), growth(1.2)) == ["look_up over N: time has the exponent 1.2, at most 1.15"]
    assert regressions(growth(), result()) == ["look_up over N: missing from the run"]
    assert "| look_up | N | 1, 2 | 1.0, 2.0 | 0.0 MB | 1.00 (at most 1.15) |" in "\n".join(
        growth_table(growth()["growth"])
    )


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_known_cost(power: float) -> None:
    assert exponent([10, 20, 40], [3.0 * size**power for size in (10, 20, 40)]) == pytest.approx(power, abs=1e-3)


def test_new_rows_take_the_place_of_old_ones() -> None:
    old, new = [{"path": "b", "v": 1}, {"path": "a", "v": 1}], [{"path": "b", "v": 2}]
    assert merge(old, new, ("path", "v"))[0] == {"path": "a", "v": 1}
    assert [row["v"] for row in merge(old, new, ("path", "path"))] == [1, 2]
