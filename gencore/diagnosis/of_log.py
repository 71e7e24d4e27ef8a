"""Failures that the log shows. `lines`: the objects of metrics.jsonl, in their order.

Numbers are compared between fifths of a stage: the median over its first, and over its last fifth of lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from gencore.diagnosis.finding import Finding, NotJudgedError

Lines = Sequence[Mapping[str, Any]]

LEAST_LINES = 10
"""Of a stage: fewer tell no trend."""
SATURATED = 0.05
"""A critic's loss that is as good as 0; log 4 = 1.39 is one that cannot tell (logistic), 2 for hinge losses."""
GONE = 0.01
"""The generator's gradient beside the largest that it had."""
EXPLODED = 1e3
"""A gradient beside the largest of the stage's first three fifths: growing 40 times over is nothing unusual for a game.
"""
SHARED = 0.5
"""What held-out data must gain beside the training data."""
RISEN = 0.5
"""The loss has given back this share of what it had gained."""


def stopped(lines: Lines) -> Finding:
    """The last line says that training ended on NaN or infinity, or holds such a number."""
    if not lines:
        raise NotJudgedError("nothing was logged yet")
    last = lines[-1]
    if "stopped" in last:
        return Finding(True, str(last["stopped"]))
    bad = [name for name, value in last.items() if isinstance(value, float) and not math.isfinite(value)]
    return Finding(bool(bad), f"at iteration {last['step']:,}, {', '.join(bad) or 'none'} not finite")


def loss_rising(lines: Lines) -> Finding:
    """A loss that one phase alone minimises fell, and has risen again, by more than it swings from line to line."""
    for name, values in _alone(lines).items():
        finding = _risen(name, values)
        if finding.found:
            break
    return finding


def _risen(name: str, values: Sequence[float]) -> Finding:
    """Whether the last fifth has given back `RISEN` of what the best fifth had gained over the first."""
    first, last = _fifths(values)
    best = min(median(window) for window in _windows(values))
    swing = median(abs(b - a) for a, b in pairwise(values))
    measured = f"{name} was {first:.4g}, at best {best:.4g}, now {last:.4g}"
    return Finding(last - best > max(RISEN * max(first - best, 0.0), 2 * swing), measured)


def overfitting(lines: Lines) -> Finding:
    """Of a phase that trains alone, the held-out loss has fallen by less than `SHARED` of what the training loss has,
    or has risen again while the training loss has not."""
    held = _metrics(lines, "")
    losses = {(stage, name): v for (stage, name), v in held.items() if name.startswith("heldout/")}
    stages = [stage for stage, _ in losses]
    alone = {key: values for key, values in losses.items() if stages.count(key[0]) == 1}
    if not alone:
        raise NotJudgedError("the log has no held-out loss of a phase that trains alone: train with --evaluate-every")
    (stage, name), values = list(alone.items())[-1]
    _need("x" if len(values) >= LEAST_LINES else "")
    own = held[stage, f"{name.removeprefix('heldout/')}/loss"]
    gained, training = (numbers[0] - _fifths(numbers)[1] for numbers in (values, own))
    risen = _risen(name, values).found and not _risen("", own).found
    return Finding(
        risen or gained < SHARED * training,
        f"{name} fell by {gained:.4g} from its first line, the training loss by {training:.4g}; the bar is {SHARED}",
    )


def gradient_exploded(lines: Lines) -> Finding:
    """A phase's gradient is `EXPLODED` times as long as it was in the stage's first three fifths."""
    worst, measured = 0.0, ""
    for (stage, name), values in _metrics(lines, "/gradient_norm").items():
        if len(values) >= LEAST_LINES:
            windows = [median(window) for window in _windows(values)]
            before, last = max(windows[:3]), windows[-1]
            ratio = last / max(before, 1e-12)
            if ratio >= worst:
                worst, measured = ratio, f"{name} ({stage}) was {before:.3g}, now {last:.3g}: {ratio:.3g} times"
    _need(measured)
    return Finding(worst > EXPLODED, f"{measured}; the bar is {EXPLODED:g}")


def critic_saturated(lines: Lines) -> Finding:
    """The critic's loss has come to 0: it knows every sample for one, and has nothing left to say."""
    found = {name: v for (_, name), v in _metrics(lines, "/loss").items() if name.startswith("critic")}
    if not found:
        raise NotJudgedError("there is no critic's loss in the log")
    name, values = next(iter(found.items()))
    if len(values) < LEAST_LINES:
        _need("")
    if min(values) < 0:
        raise NotJudgedError("the critic's loss is a difference of scores, and has no floor to come to")
    last = _fifths(values)[1]
    return Finding(last < SATURATED, f"{name} is {last:.3g}; the bar is {SATURATED}")


def generator_gradient_gone(lines: Lines) -> Finding:
    """The generator's gradient is `GONE` of the largest that it had: what the critic says does not reach it."""
    norms = _metrics(lines, "/gradient_norm")
    if not any(name.startswith("critic") for _, name in norms):
        raise NotJudgedError("there is no critic in the log")
    found = [values for (_, name), values in norms.items() if name.startswith("generator")]
    if not found or len(found[0]) < LEAST_LINES:
        _need("")
    largest = max(median(window) for window in _windows(found[0]))
    last = _fifths(found[0])[1]
    ratio = last / max(largest, 1e-30)
    return Finding(
        ratio < GONE or last < 1e-8,
        f"its length was up to {largest:.3g}, now {last:.3g}: {ratio:.3g} times; the bar is {GONE:g}",
    )


def _metrics(lines: Lines, ending: str) -> dict[tuple[str, str], list[float]]:
    """{(stage, name): values} of the finite numbers whose name has that ending."""
    found: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        for name, value in line.items():
            if name.endswith(ending) and isinstance(value, float) and math.isfinite(value):
                found.setdefault((str(line.get("stage")), name), []).append(value)
    return found


def _alone(lines: Lines) -> dict[str, list[float]]:
    """The losses of the stages that have one phase: in a game nobody's loss needs to fall."""
    losses = _metrics(lines, "/loss")
    stages = [stage for stage, _ in losses]
    found = {name: values for (stage, name), values in losses.items() if stages.count(stage) == 1}
    if not found:
        raise NotJudgedError("no phase minimises a loss alone")
    _need("x" if all(len(values) >= LEAST_LINES for values in found.values()) else "")
    return found


def _windows(values: Sequence[float]) -> list[Sequence[float]]:
    """Five parts of about equal length, in order."""
    edges = [round(k * len(values) / 5) for k in range(6)]
    return [values[a:b] for a, b in pairwise(edges) if b > a]


def _fifths(values: Sequence[float]) -> tuple[float, float]:
    windows = _windows(values)
    return median(windows[0]), median(windows[-1])


def _need(measured: str) -> None:
    if not measured:
        raise NotJudgedError(f"a stage has fewer than {LEAST_LINES} lines in the log: train on, or lower --log-every")
