"""Draws docs/benchmarks.md and its pictures from the files in bench/results, and holds a run against a baseline.

python -m bench.report                                  draw
python -m bench.report --gate BASELINE.json RUN.json    1 if a ratio to a peer fell below 70 % of the baseline's,
                                                        or our result is less exact than it was, or costs grow faster
python -m bench.report --table RUN.json                 print a run's table
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ALLOWED_FRACTION = 0.7

INTRODUCTION = """# Benchmarks

Drawn by `python -m bench.report` from `bench/results/`; `bench/README.md` says how to run them. All contestants of a
case run in turn in one process, on one thread; the time is process CPU time, the best round. **Times faster** is a
peer's time over ours in the same run. Error is against float64. Memory is the peak above the inputs, results included.
No ratio is shown where the operation's tests were not run first.
"""


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Result files of machines by name; records of another kind lie beside them."""
    files = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    return {name: data for name, data in files.items() if isinstance(data, dict) and {"machine", "rows"} <= set(data)}


def _ours(entry: dict[str, Any]) -> bool:
    return str(entry["name"]).startswith("gencore")


def megabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:.1f} MB"


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of a markdown table."""
    yield "| operation | case | contestant | times faster | ms | spread | error | memory |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for row in rows:
        mark = "" if row["tests"] == "passed" else " (1)"
        for place, entry in enumerate(row["contestants"]):
            first, tested = place == 0, row["tests"].startswith("passed")
            ratio = f"{entry['ratio']:.2f}x{mark}" if tested else "tests not run"
            cells = [row["operation"] if first else "", row["case"] if first else ""]
            cells += [f"**{entry['name']}**" if first else entry["name"], "" if first else ratio]
            cells += [f"{entry['milliseconds']:.3f}", f"{entry['median_over_best']:.2f}"]
            cells += [f"{entry['error']:.2g} {row['error_unit']}", megabytes(entry["peak_bytes"])]
            yield "| " + " | ".join(cells) + " |"
    if any("uncommitted" in row["tests"] for row in rows):
        yield "\n(1) The tests passed, with changes that were not committed yet."


def shown(data: dict[str, Any]) -> dict[str, float]:
    """What the plot shows of a file: by operation, case and peer, how many times its time is ours."""
    return {
        f"{row['operation']}  {row['case']}  {entry['name']}": entry["ratio"]
        for row in data["rows"]
        if row["tests"].startswith("passed")
        for entry in row["contestants"][1:]
        if not _ours(entry)
    }


def draw_plot(files: dict[str, dict[str, Any]], path: Path) -> None:
    """One column a machine; a bar a peer, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = {name: shown(data) for name, data in files.items()}
    labels = list(dict.fromkeys(label for column in columns.values() for label in column))
    size = (6 + 2.5 * len(columns), 0.8 + 0.2 * len(labels))
    figure, places = pyplot.subplots(1, len(columns), sharex=True, sharey=True, squeeze=False, figsize=size)
    for axes, (name, column) in zip(places[0], columns.items(), strict=True):
        ratios = [column.get(label, 1.0) for label in labels]
        colours = ["#2a7f62" if ratio >= 1 else "#b5483a" for ratio in ratios]
        axes.barh(labels, [ratio - 1 for ratio in ratios], left=1, color=colours)
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_title(name, fontsize=7)
        axes.tick_params(axis="y", labelsize=7)
        axes.margins(y=0.002)
    places[0][0].invert_yaxis()
    figure.supxlabel("peer's time / our time (right of 1: we are faster)", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=80, bbox_inches="tight")
    pyplot.close(figure)


def growth_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of a markdown table: exponents of time and memory, and the most that they may be."""
    if not rows:
        return
    yield "Cost against work: cost grows as the size to the power of the exponent (bench/core/bench_growth.py).\n"
    yield "| path | over | sizes | ms | memory | exponent of time | of memory |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in rows:
        cells = [row["path"], row["over"], ", ".join(map(str, row["sizes"]))]
        cells += [", ".join(f"{each:.1f}" for each in row["milliseconds"]), megabytes(row["peak_bytes"][-1])]
        cells += [f"{row[name + '_exponent']:.2f} (at most {row[name + '_bar']:g})" for name in ("time", "memory")]
        yield "| " + " | ".join(cells) + " |"


def draw_growth(files: dict[str, dict[str, Any]], path: Path) -> None:
    """Time and memory over size, both relative to the smallest, a line for each path and machine."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, places = pyplot.subplots(1, 2, sharex=True, figsize=(11, 5))
    for axes, field, title in zip(places, ("milliseconds", "peak_bytes"), ("time", "peak memory"), strict=True):
        for name, data in files.items():
            for row in data.get("growth", ()):
                sizes, costs = ([each / row[key][0] for each in row[key]] for key in ("sizes", field))
                slope = row["time_exponent" if field == "milliseconds" else "memory_exponent"]
                axes.loglog(
                    sizes, costs, "o-", markersize=3, label=f"{row['path']}, {row['over']}: {slope:.2f} ({name})"
                )
        axes.set_title(f"{title}, relative to the smallest size; exponent", fontsize=9)
        axes.set_xlabel("size, relative to the smallest", fontsize=9)
        axes.legend(fontsize=5)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def draw(results: Path, docs: Path) -> None:
    """Writes docs/benchmarks.md, docs/benchmarks.png and docs/growth.png."""
    files = load(results)
    if not files:
        raise SystemExit(f"no results in {results}: run python -m pytest bench/kernels/bench_*.py first")
    lines = [INTRODUCTION, "![times faster than each peer](benchmarks.png)\n"]
    if any(data.get("growth") for data in files.values()):
        lines += ["![cost against work](growth.png)\n"]
        draw_growth(files, docs / "growth.png")
    for name, data in files.items():
        lines += [f"## {name}\n", *(f"- {key}: {value}" for key, value in data["machine"].items()), ""]
        lines += [*table(data["rows"]), "", *growth_table(data.get("growth", [])), ""]
    (docs / "benchmarks.md").write_text("\n".join(lines))
    draw_plot(files, docs / "benchmarks.png")


def regressions(baseline: dict[str, Any], run: dict[str, Any]) -> list[str]:
    """Ratios of the baseline that the run misses or lacks, and results of ours that are less exact than they were.

    Ratios, not times: machines differ, ranks should not. Those of our own other contestants ("gencore, ...") are free.
    An error of zero must stay zero; any other may double (a run draws other data).
    """
    found = {(row["operation"], row["case"]): row["contestants"] for row in run["rows"]}
    problems = []
    for row in baseline["rows"]:
        case = f"{row['operation']} / {row['case']}"
        ours, *peers = found.get((row["operation"], row["case"]), [None])
        if ours is None:
            problems.append(f"{case}: missing from the run")
            continue
        if not ours["error"] <= 2.0 * row["contestants"][0]["error"]:
            before = row["contestants"][0]["error"]
            problems.append(f"{case}: error {ours['error']:.2g} {row['error_unit']}, the baseline has {before:.2g}")
        ratios = {peer["name"]: peer["ratio"] for peer in peers}
        for peer in row["contestants"][1:]:
            ratio = ratios.get(peer["name"])
            if ratio is None:
                problems.append(f"{case} / {peer['name']}: missing from the run")
            elif not _ours(peer) and ratio < ALLOWED_FRACTION * peer["ratio"]:
                problems.append(f"{case} / {peer['name']}: {ratio:.2f}x, the baseline has {peer['ratio']:.2f}x")
    return sorted(problems + too_steep(baseline.get("growth", []), run.get("growth", [])))


def too_steep(baseline: list[dict[str, Any]], run: list[dict[str, Any]]) -> list[str]:
    """Costs of the run that grow faster with the work than they may, and those of the baseline that it lacks."""
    found = {(row["path"], row["over"]): row for row in run}
    problems = [
        f"{row['path']} over {row['over']}: missing from the run"
        for row in baseline
        if (row["path"], row["over"]) not in found
    ]
    for row in run:
        for cost in ("time", "memory"):
            measured, bar = row[f"{cost}_exponent"], row[f"{cost}_bar"]
            if measured > bar:
                problems.append(
                    f"{row['path']} over {row['over']}: {cost} has the exponent {measured:g}, at most {bar:g}"
                )
    return problems


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("--gate", nargs=2, type=Path, metavar=("BASELINE", "RUN"))
    parser.add_argument("--table", type=Path, metavar="RUN")
    options = parser.parse_args(arguments)
    if options.table is not None:
        print("\n".join(table(json.loads(options.table.read_text())["rows"])))
        return 0
    if options.gate is None:
        draw(ROOT / "bench" / "results", ROOT / "docs")
        return 0
    problems = regressions(*(json.loads(path.read_text()) for path in options.gate))
    print(
        "\n".join(problems) or "no ratio fell below 70 % of the baseline, no result is less exact, no cost grows faster"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
