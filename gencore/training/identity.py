"""What a training is, in JSON's types: so that a checkpoint goes on in no other one without a word.

A recipe holds functions, too. A schedule is known by its values at some iterations, any other function by its name and
what it has captured, an objective by its class and its plain attributes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from gencore.config import to_json
from gencore.errors import GencoreError
from gencore.recipes import Phase, Recipe, Stage
from gencore.training.checkpoint import Checkpoint

PROBES = (0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
"""Iterations at which a schedule is asked."""
DEEPEST = 6


def describe(recipe: Recipe, **further: Any) -> dict[str, Any]:
    """The recipe, and `further` settings, as JSON has them. Two trainings of one description take the same steps."""
    described = {
        "recipe": recipe.name,
        "model": recipe.model.__qualname__,
        "config": to_json(recipe.config),
        "batch_size": recipe.batch_size,
        "stages": {f"{place}: {stage.name}": _stage(stage) for place, stage in enumerate(recipe.stages)},
        "averages": {average.name: _value(average) for average in recipe.ema},
    }
    return {**described, **{name: _value(value) for name, value in further.items()}}


Place = tuple[str, ...]
"""Where a value stands in a description, such as ("stages", "0: training", "steps")."""


def differences(was: Any, now: Any, place: Place = ()) -> dict[Place, str]:
    """{place: "... was ..., now ..."} of two descriptions, down to the innermost values."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        found: dict[Place, str] = {}
        for key in dict.fromkeys((*was, *now)):
            found |= differences(was.get(key, "none"), now.get(key, "none"), (*place, str(key)))
        return found
    return {} if was == now else {place: f"{'.'.join(place)} was {_short(was)}, now {_short(now)}"}


def is_length(place: Place) -> bool:
    """Whether it is a stage's number of iterations."""
    return len(place) == 3 and place[0] == "stages" and place[2] == "steps"


def check_same(checkpoint: Checkpoint, recipe: Recipe, now: Mapping[str, Any], allowed: Collection[Place]) -> None:
    """Raise GencoreError, which names the differences, unless the training `now` may continue the checkpoint's.

    Lengths of the stage under way and of later ones may differ, and what is `allowed`. What the checkpoint says may be
    anything: AttributeError, LookupError, TypeError and ValueError mean that it is broken.
    """
    stage, step, was = (checkpoint.values[name] for name in ("stage", "step", "training"))
    names = list(was["stages"])
    _check_number(checkpoint, "stage", len(names) - 1)
    _check_number(checkpoint, "step", was["stages"][names[stage]]["steps"])
    free: set[Place] = {("stages", name, "steps") for name in names[stage:]}
    free |= {place for place in allowed if not is_length(place)}
    different = [text for place, text in differences(was, now).items() if place not in free]
    if different:
        raise GencoreError(
            f"{checkpoint.origin} belongs to another training: {'; '.join(different)}. Give the settings that it was "
            "made with, or begin a new training with its model's weights (begin_from, --init-from)."
        )
    if step > recipe.stages[stage].steps:
        raise GencoreError(
            f"{checkpoint.origin} has done {step:,} iterations of stage {recipe.stages[stage].name!r}, more than the "
            f"{recipe.stages[stage].steps:,} that it is to have now. Ask for {step:,} or more."
        )


def _check_number(checkpoint: Checkpoint, name: str, most: int) -> None:
    number = checkpoint.values[name]
    if type(number) is not int or not 0 <= number <= most:
        raise GencoreError(f"{checkpoint.origin}: its {name} is {number!r}; expected a whole number from 0 to {most}.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]} ... ({len(text):,} characters)"


def _stage(stage: Stage) -> dict[str, Any]:
    return {
        "steps": stage.steps,
        "objective": _value(stage.objective),
        "phases": {phase.name: _phase(phase) for phase in stage.phases},
        "frozen": list(stage.frozen),
        "data": _value(stage.data),
        "begin": _value(stage.begin),
    }


def _phase(phase: Phase) -> dict[str, Any]:
    described = {f.name: _value(getattr(phase, f.name)) for f in dataclasses.fields(phase) if f.name != "schedule"}
    return {**described, "schedule": _probed(phase.schedule)}


def _probed(schedule: Callable[[int], float] | None) -> Any:
    """The schedule's values, by iteration; where it ends, and raises, "none"."""
    if schedule is None:
        return None
    values: dict[str, Any] = {}
    for step in PROBES:
        try:
            values[str(step)] = _value(float(schedule(step)))
        except (ArithmeticError, LookupError, ValueError):
            values[str(step)] = "none"
    return values


def _value(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth > DEEPEST:
        return type(value).__qualname__
    inner: Callable[[Any], Any] = functools.partial(_value, depth=depth + 1)
    if isinstance(value, Tensor):
        return f"tensor of shape {tuple(value.shape)}"
    if isinstance(value, nn.Module):
        return _module(value, inner)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: inner(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"is": type(value).__qualname__, **fields}
    if isinstance(value, Mapping):
        return {str(key): inner(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [inner(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(str(inner(item)) for item in value)
    return _function(value, inner) if callable(value) else type(value).__qualname__


def _module(module: nn.Module, inner: Callable[[Any], Any]) -> dict[str, Any]:
    """Class, the names and shapes of buffers and parameters, and the plain attributes; not what nn.Module adds."""
    usual = vars(nn.Module())
    own = {name: inner(item) for name, item in vars(module).items() if name not in usual and name[0] != "_"}
    shapes = {name: list(tensor.shape) for name, tensor in module.state_dict(keep_vars=True).items()}
    parts = {name: inner(child) for name, child in module.named_children()}
    return {"is": type(module).__qualname__, **own, **({"tensors": shapes} if shapes else {}), **parts}


def _function(function: Any, inner: Callable[[Any], Any]) -> Any:
    if isinstance(function, functools.partial):
        keywords = {name: inner(item) for name, item in function.keywords.items()}
        return {"is": inner(function.func), "arguments": [inner(item) for item in function.args], **keywords}
    name = getattr(function, "__qualname__", type(function).__qualname__)
    captured = {name: inner(item) for name, item in _captured(function) if not isinstance(item, list | dict | set)}
    return {"is": name, **captured} if captured else name


def _captured(function: Any) -> Iterable[tuple[str, Any]]:
    """(name, value) of a closure's variables."""
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
