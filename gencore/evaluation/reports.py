"""Figures with their provenance, as a file of JSON, and what two such files allow to say.

`measured` is how: two figures compare only where all of it agrees. `drawn` is where the examples came from: the sampler
and its steps, guidance, truncation, seed, averaged weights or live. That may differ, it is what one compares; it is
named all the same.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gencore.errors import GencoreError
from gencore.paths import user_path

FORMAT = 1
METHOD = 1
"""Counts up where a figure's computation changes, so that older files no longer compare with new ones."""
MOST_BYTES = 2**24
Better = Literal["lower", "higher"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`low`, `high`: its interval of 95 %. `beside`: numbers that help to read it, such as that of real data."""

    name: str
    value: float
    low: float
    high: float
    better: Better
    measured: Mapping[str, Any]
    drawn: Mapping[str, Any]
    beside: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`model`: its name, system and the sha256 of its weights. `left_out`: metrics that do not apply, and why."""

    model: Mapping[str, Any]
    figures: tuple[Figure, ...]
    left_out: Mapping[str, str]
    gencore: str

    def to_json(self) -> str:
        """A text that `read` reads back."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1) + "\n"


def read(path: str | Path) -> Report:
    """The report in a file of `gencore evaluate --json`. Raises GencoreError for any other file."""
    file = user_path(path)
    if not file.is_file():
        raise GencoreError(f"there is no file {file}; expected what gencore evaluate --json has written.")
    if file.stat().st_size > MOST_BYTES:
        raise GencoreError(f"{file} has {file.stat().st_size:,} bytes; a report has less than {MOST_BYTES:,}.")
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored.pop("format") != FORMAT:
            raise GencoreError(f"{file} is a report of another format; expected format {FORMAT}. Evaluate anew.")
        figures = tuple(_figure(item) for item in stored.pop("figures"))
        return Report(figures=figures, **stored)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, GencoreError):
            raise
        raise GencoreError(f"{file} is no report of gencore evaluate --json: {error}.") from error


def _figure(stored: Mapping[str, Any]) -> Figure:
    figure = Figure(**stored)
    numbers = (figure.value, figure.low, figure.high, *figure.beside.values())
    if not all(isinstance(number, int | float) for number in numbers) or figure.better not in ("lower", "higher"):
        raise TypeError(f"the figure {figure.name!r} has other values than numbers")
    for fields in (figure.measured, figure.drawn):
        if not isinstance(fields, dict):
            raise TypeError(f"the figure {figure.name!r} has no provenance")
    return figure


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two figures of one name. `forbids`: the fields of `measured` that differ, each with both values; where there are
    some, `better` is None. `differs`: those of `drawn`. `better`: 0 or 1, or None where the intervals overlap."""

    name: str
    values: tuple[float, float]
    forbids: Mapping[str, tuple[Any, Any]]
    differs: Mapping[str, tuple[Any, Any]]
    better: int | None

    @property
    def verdict(self) -> str:
        """In words."""
        if self.forbids:
            return "do not compare"
        return "intervals overlap" if self.better is None else f"{'AB'[self.better]} is better"


def compare(a: Report, b: Report) -> tuple[Compared, ...]:
    """Every figure that both have. Raises GencoreError where they have none in common."""
    others = {figure.name: figure for figure in b.figures}
    found = tuple(_compared(figure, others[figure.name]) for figure in a.figures if figure.name in others)
    if not found:
        raise GencoreError(
            f"The reports have no figure in common: {', '.join(f.name for f in a.figures) or 'none'} in one, "
            f"{', '.join(others) or 'none'} in the other."
        )
    return found


def _compared(a: Figure, b: Figure) -> Compared:
    forbids = _differences(a.measured, b.measured)
    lower, higher = (0, 1) if a.value <= b.value else (1, 0)
    apart = a.high < b.low or b.high < a.low
    return Compared(
        name=a.name,
        values=(a.value, b.value),
        forbids=forbids,
        differs=_differences(a.drawn, b.drawn),
        better=None if forbids or not apart else lower if a.better == "lower" else higher,
    )


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = (*a, *(name for name in b if name not in a))
    missing = "not there"
    return {n: (a.get(n, missing), b.get(n, missing)) for n in names if a.get(n, missing) != b.get(n, missing)}
