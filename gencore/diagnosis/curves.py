"""Curves of one or several runs, from their metrics.jsonl. Runs that differ in nothing but the seed are one curve:
the mean over seeds, in a band from the lowest to the highest.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gencore.errors import GencoreError, suggest
from gencore.extras import from_extra
from gencore.training.directory import METRICS
from gencore.training.metrics_log import read_log
from gencore.training.settings import CHANGEABLE, RunSettings, load_settings

NO_METRIC = ("step", "stage", "seconds", "stopped")
COLUMNS = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run's settings and its log: one mapping a line of metrics.jsonl."""

    name: str
    settings: RunSettings
    lines: tuple[Mapping[str, Any], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One metric of one group of runs: (S,) iterations and, for each, mean, lowest and highest over the seeds."""

    name: str
    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def read_run(folder: Path) -> Run:
    """The run in a directory. Raises GencoreError where there is none, or where nothing was logged yet."""
    settings = load_settings(folder)
    path = folder / METRICS
    lines = read_log(path)[0] if path.exists() else []
    if not lines:
        raise GencoreError(f"{path} holds no line yet: nothing was logged (--log-every {settings.log_every}).")
    return Run(name=str(folder), settings=settings, lines=tuple(lines))


def metrics_of(runs: Sequence[Run]) -> tuple[str, ...]:
    """The names of all that was logged, losses first, then in the order of the log."""
    names = dict.fromkeys(name for run in runs for line in run.lines for name in line if name not in NO_METRIC)
    return tuple(sorted(names, key=lambda name: not name.endswith("/loss")))


def grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """{name: runs} of equal settings, but for the seed and what concerns the run alone; named by the first one."""
    free = {name: None for name in ("seed", *CHANGEABLE) if name != "data"}
    groups: dict[str, list[Run]] = {}
    for run in runs:
        key = repr({**{f.name: getattr(run.settings, f.name) for f in dataclasses.fields(run.settings)}, **free})
        groups.setdefault(key, []).append(run)
    return {own[0].name if len(own) == 1 else f"{own[0].name} ({len(own)} runs)": own for own in groups.values()}


def curve(name: str, runs: Sequence[Run], metric: str, *, smooth: int = 1) -> Curve | None:
    """The metric at the iterations that all runs have logged; None where there are none. `smooth`: the mean over so
    many lines, up to each."""
    tables = [{line["step"]: line[metric] for line in run.lines if metric in line} for run in runs]
    steps = sorted(set(tables[0]).intersection(*tables[1:]))
    if not steps:
        return None
    values = np.array([_smoothed([float(table[step]) for step in steps], smooth) for table in tables])
    return Curve(
        name=name,
        steps=np.array(steps),
        mean=values.mean(0),
        low=values.min(0),
        high=values.max(0),
    )


def _smoothed(values: list[float], over: int) -> list[float]:
    return [math.fsum(values[max(0, k + 1 - over) : k + 1]) / min(over, k + 1) for k in range(len(values))]


def draw_curves(runs: Sequence[Run], *, metrics: Sequence[str] = (), smooth: int = 1) -> Any:
    """A matplotlib Figure with a panel for each metric (all, where none is named), a colour for each group of runs.

    Raises GencoreError for an unknown metric and for smooth < 1, PluginError where matplotlib is missing.
    """
    if smooth < 1:
        raise GencoreError(f"smooth is {smooth}; expected at least 1, a number of lines of the log.")
    known = metrics_of(runs)
    for name in metrics:
        if name not in known:
            raise GencoreError(f"No run has logged {name!r}.{suggest(name, known)} Logged are {', '.join(known)}.")
    shown = tuple(metrics) or known
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    from_extra("matplotlib.backends.backend_agg", "matplotlib", "plot")
    figure = from_extra("matplotlib.figure", "matplotlib", "plot").Figure(
        figsize=(4.5 * columns, 3.0 * rows + 0.5), layout="constrained"
    )
    groups = grouped(runs)
    for place, metric in enumerate(shown):
        axes = figure.add_subplot(rows, columns, place + 1)
        _draw_panel(axes, metric, [curve(name, own, metric, smooth=smooth) for name, own in groups.items()])
    handles = {h.get_label(): h for axes in figure.axes for h in axes.get_lines()}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=1, frameon=False)
    return figure


def _draw_panel(axes: Any, metric: str, curves: Sequence[Curve | None]) -> None:
    lowest, highest = math.inf, -math.inf
    for place, one in enumerate(curves):
        if one is None:
            continue
        marker = "o" if len(one.steps) == 1 else ""
        axes.plot(one.steps, one.mean, color=f"C{place % 10}", label=one.name, linewidth=1.2, marker=marker)
        if (one.low != one.high).any():
            axes.fill_between(one.steps, one.low, one.high, color=f"C{place % 10}", alpha=0.25, linewidth=0)
        finite = np.concatenate([one.low, one.high])
        finite = finite[np.isfinite(finite)]
        if finite.size:
            lowest, highest = min(lowest, finite.min()), max(highest, finite.max())
    if 0 < 100 * lowest < highest:
        axes.set_yscale("log")
    axes.set_title(metric, fontsize=9)
    axes.set_xlabel("iteration", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)


def as_png(figure: Any) -> bytes:
    """The figure as the bytes of a PNG, equal for equal figures."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
