"""docs/zoo.md: one row a system, from what the behaviour tests measured, and a picture, from tools.zoo_pictures.
`make zoo` runs both first.

bench/results/zoo.json holds the rows; those in build/zoo (written by the fixture `measured`) replace older ones of the
same system and sentence. With --check nothing is written: systems without a row that are not known gaps
(bench/results/unmeasured.txt), and a page that does not agree with the rows, are named.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gencore.pages import read_page
from gencore.registry import list_systems
from gencore.spec import SystemSpec

ROOT = Path(__file__).parent.parent
RECORD, PAGE, NEW = ROOT / "bench/results/zoo.json", ROOT / "docs/zoo.md", ROOT / "build/zoo"
DRAWN = ROOT / "docs/images/zoo/record.json"
UNMEASURED = ROOT / "bench/results/unmeasured.txt"
"""Systems that have no behaviour test yet, a line each: known gaps, which are to go."""

Row = dict[str, Any]

HEAD = """# The zoo

One row a system: what defines it, as its behaviour test measures it on a little seeded training, and the same figure
with the system's own term off (the ablated twin), which must miss the bar. Below each table: what a short seeded
training on the default data makes (`python -m tools.zoo_pictures`), nothing chosen by hand. `make zoo` makes this page.
"""

USES = (
    ("Draws samples", "sampler"),
    ("Gives pictures or data a code", "encoder"),
    ("Rebuilds its input", "reconstruct"),
    ("Changes one picture into another", "translate"),
    ("Names classes", "classify"),
    ("Knows the exact density", "log-prob"),
    ("Bounds the density", "bound"),
)
COLUMNS = 4


def merged(old: list[Row], new: list[Row]) -> list[Row]:
    """The rows, newer ones in the place of older ones of the same system and sentence; in a fixed order."""
    rows = {(row["system"], row["defines"]): row for row in (*old, *new)}
    return [rows[key] for key in sorted(rows)]


def number(value: float | None) -> str:
    """Three digits."""
    return "" if value is None else f"{value:.3g}"


def entry(spec: SystemSpec, row: Row | None) -> str:
    """A line of the table."""
    page = read_page(spec).path.relative_to(ROOT).as_posix()
    arxiv = f" [{spec.paper.arxiv}](https://arxiv.org/abs/{spec.paper.arxiv})" if spec.paper.arxiv else ""
    cells = [f"[{spec.name}](../{page})", f"{spec.paper.authors} {spec.paper.year}{arxiv}"]
    if row is None:
        cells += ["not measured yet", "", "", "", ""]
    else:
        bar = ("< " if row["better"] == "lower" else "> ") + number(row["bar"])
        cells += [row["defines"], number(row["figure"]), number(row["twin"]), bar, number(row["cpu_seconds"])]
    return "| " + " | ".join(cells) + " |"


def contents(specs: list[SystemSpec]) -> list[str]:
    """By family, by use and by year; names link to their family's part of the page."""

    def linked(members: Iterable[SystemSpec]) -> str:
        return " · ".join(f"[{spec.name}](#{spec.family})" for spec in members)

    text = ["## By family\n"]
    for family, members in itertools.groupby(specs, key=lambda spec: spec.family):
        text += [f"- **{family}**: {linked(members)}"]
    text += ["\n## By use\n"]
    for use, word in USES:
        text += [f"- **{use}**: {linked(spec for spec in specs if word in (*spec.roles, *spec.traits))}"]
    text += ["\n## By year\n"]
    by_year = sorted(specs, key=lambda spec: (spec.paper.year, spec.name))
    for year, members in itertools.groupby(by_year, key=lambda spec: spec.paper.year):
        text += [f"- **{year}**: {linked(members)}"]
    return [*text, ""]


def pictures(members: list[SystemSpec], record: Mapping[str, Any]) -> list[str]:
    """A table of a family's pictures, each with what it shows and after how much training."""
    cells = []
    for spec in members:
        drawn = record.get(spec.name, {})
        if drawn.get("shows"):
            picture = f"![{spec.name}](images/zoo/{spec.name}.png)"
            cells.append(f"{picture}<br>**{spec.name}**: {drawn['shows']}; {drawn['steps']} of {drawn['of']} steps")
    if not cells:
        return []
    cells += [""] * (-len(cells) % COLUMNS)
    lines = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
    head = ["| " + " | ".join([""] * COLUMNS) + " |", "|" + "---|" * COLUMNS]
    return ["", *head, *("| " + " | ".join(line) + " |" for line in lines)]


def page(specs: list[SystemSpec], rows: list[Row], record: Mapping[str, Any]) -> str:
    """The whole of docs/zoo.md."""
    text = [HEAD, *contents(specs)]
    for family, found in itertools.groupby(specs, key=lambda spec: spec.family):
        members = list(found)
        text += [f"## {family}\n", "| system | paper | what defines it | figure | twin | bar | CPU-s |"]
        text += ["|---|---|---|---|---|---|---|"]
        for spec in members:
            own = [row for row in rows if row["system"] == spec.name] or [None]
            text += [entry(spec, row) for row in own]
        text += [*pictures(members, record), ""]
    return "\n".join(text)


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    specs = [spec for spec in list_systems() if spec.page.startswith("gencore_")]
    old = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else []
    names = {spec.name for spec in specs}
    new = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(NEW.glob("*.json"))]
    record = json.loads(DRAWN.read_text(encoding="utf-8")) if DRAWN.exists() else {}
    rows = [row for row in (old if check else merged(old, new)) if row["system"] in names]
    if not check:
        RECORD.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(specs, rows, record), encoding="utf-8")
        return 0
    measured, known = {row["system"] for row in rows}, set(UNMEASURED.read_text(encoding="utf-8").split())
    problems = [f"no row, and not in {UNMEASURED.name}: {name}" for name in sorted(names - measured - known)]
    problems += [
        f"in {UNMEASURED.name}, and measured or unknown: {name}" for name in sorted(known - (names - measured))
    ]
    if PAGE.read_text(encoding="utf-8") != page(specs, rows, record):
        problems.append("docs/zoo.md does not agree with bench/results/zoo.json: run make zoo")
    sys.stdout.write("".join(f"{line}\n" for line in problems))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
