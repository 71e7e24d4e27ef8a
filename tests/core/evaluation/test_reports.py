"""A report goes to a file and back; two figures rank only where all that they were measured by agrees."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from gencore.errors import GencoreError
from gencore.evaluation.reports import Figure, Report, compare, read

MEASURED = {
    "method": 1,
    "extractor": "e",
    "extractor_sha256": "a",
    "resize": "bicubic",
    "rounding": "to uint8",
    "real_digest": "d",
    "real_split": "test",
    "n_real": 100,
    "n_samples": 50,
    "dtype": "float64",
}
DRAWN = {"sampler": "ddim", "steps": 50, "guidance": 1.0, "truncation": "none", "seed": 0, "weights": "averages"}


def report(value: float = 1.0, *, better: str = "lower", spread: float = 0.1, **changes: object) -> Report:
    measured = MEASURED | {name: changes[name] for name in changes if name in MEASURED}
    drawn = DRAWN | {name: changes[name] for name in changes if name in DRAWN}
    figure = Figure(
        name="frechet",
        value=value,
        low=value - spread,
        high=value + spread,
        better=better,
        measured=measured,
        drawn=drawn,
        beside={"real against real": 0.5},
    )
    return Report(model={"name": "m"}, figures=(figure,), left_out={"nll": "no likelihood"}, gencore="1")


def test_there_and_back(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(report().to_json())
    assert read(file) == report()


@pytest.mark.parametrize(("better", "first", "expected"), [("lower", 1.0, 0), ("higher", 1.0, 1), ("lower", 3.0, 1)])
def test_what_lies_apart_is_ranked(better: str, first: float, expected: int) -> None:
    (found,) = compare(report(first, better=better), report(2.0, better=better))
    assert found.better == expected
    assert found.verdict == f"{'AB'[expected]} is better"
    assert not found.forbids


def test_what_overlaps_is_not() -> None:
    (found,) = compare(report(1.0, spread=0.6), report(2.0, spread=0.6))
    assert found.better is None
    assert found.verdict == "intervals overlap"


@pytest.mark.parametrize("field", list(MEASURED))
def test_no_ranking_across_a_difference(field: str) -> None:
    (found,) = compare(report(1.0), report(9.0, **{field: "another"}))
    assert found.better is None
    assert found.verdict == "do not compare"
    assert found.forbids == {field: (MEASURED[field], "another")}


@pytest.mark.parametrize("field", list(DRAWN))
def test_how_samples_were_drawn_is_named_and_allowed(field: str) -> None:
    (found,) = compare(report(1.0), report(9.0, **{field: "another"}))
    assert found.better == 0
    assert found.differs == {field: (DRAWN[field], "another")}


def test_a_field_that_one_lacks_is_a_difference() -> None:
    other = report(9.0)
    (figure,) = other.figures
    fewer = {name: value for name, value in MEASURED.items() if name != "resize"}
    other = dataclasses.replace(other, figures=(dataclasses.replace(figure, measured=fewer),))
    (found,) = compare(report(1.0), other)
    assert found.forbids == {"resize": ("bicubic", "not there")}


def test_nothing_in_common() -> None:
    (figure,) = report().figures
    other = dataclasses.replace(report(), figures=(dataclasses.replace(figure, name="FID"),))
    with pytest.raises(GencoreError, match="no figure in common: frechet in one, FID in the other"):
        compare(report(), other)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"format": 1, "figures": 3}',
        '{"format": 2}',
        json.dumps({"format": 1, "figures": [{"name": "a"}], "model": {}, "left_out": {}, "gencore": "1"}),
        report().to_json().replace('"value": 1.0', '"value": "low"'),
    ],
)
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(content)
    with pytest.raises(GencoreError, match=r"a\.json is"):
        read(file)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(GencoreError, match="there is no file"):
        read(tmp_path / "none.json")
