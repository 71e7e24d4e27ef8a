"""A checkpoint goes on in its own training alone: the differences are named, and broken ones say where they lie."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import PairConfig, data, phase, recipe

import gencore
from gencore.errors import GencoreError
from gencore.training.checkpoint import Checkpoint, checkpoints, read, write
from gencore.training.identity import describe, differences


def falling(o: Any, m: Any, n: str, b: Any) -> torch.Tensor:
    return (m.theta + m.psi).sum()


def rising(o: Any, m: Any, n: str, b: Any) -> torch.Tensor:
    return -(m.theta + m.psi).sum()


def halved(step: int, after: int = 10) -> float:
    return 0.5 ** (step // after)


def trainer(made: gencore.Recipe | None = None, **options: Any) -> gencore.Trainer:
    source = options.pop("source", None) or data()
    return gencore.Trainer(made or plain(), source, cpu=True, **options)


def plain(**changes: Any) -> gencore.Recipe:
    made = recipe(
        changes.pop("formula", falling),
        phase(
            "generator",
            changes.pop("rate", 0.1),
            repeats=changes.pop("repeats", 1),
            schedule=changes.pop("schedule", halved),
            max_gradient_norm=changes.pop("clip", None),
        ),
        steps=changes.pop("steps", 4),
        config=PairConfig(theta=changes.pop("theta", 1.0)),
        ema=(gencore.EMA(decay=changes.pop("decay", 0.5)),),
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture
def state() -> Checkpoint:
    first = trainer()
    first.fit()
    return first.state()


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (lambda: trainer(plain(rate=0.2)), "optimizer.learning_rate was 0.1, now 0.2"),
        (lambda: trainer(plain(theta=2.0)), "config.theta was 1.0, now 2.0"),
        (lambda: trainer(plain(batch_size=8)), "batch_size was 4, now 8"),
        (lambda: trainer(plain(decay=0.25)), "averages.ema.decay was 0.5, now 0.25"),
        (lambda: trainer(plain(repeats=2)), "repeats was 1, now 2"),
        (lambda: trainer(plain(clip=1.0)), "max_gradient_norm was None, now 1.0"),
        (lambda: trainer(plain(name="other")), "recipe was 'toy', now 'other'"),
        (lambda: trainer(plain(formula=rising)), "formula was 'falling', now 'rising'"),
        (lambda: trainer(plain(schedule=functools.partial(halved, after=20))), "schedule.10 was 0.5, now 1.0"),
        (lambda: trainer(seed=1), "seed was 0, now 1"),
        (lambda: trainer(precision="bf16"), "precision was 'no', now 'bf16'"),
        (lambda: trainer(accumulation=2), "accumulation was 1, now 2"),
        (lambda: trainer(source=data(32)), "data.count was 64, now 32"),
        (lambda: trainer(plain(steps=3)), "has done 4 iterations of stage 'training', more than the 3"),
    ],
)
def test_another_training_is_refused(state: Checkpoint, other: Any, named: str) -> None:
    made = other()
    with pytest.raises(GencoreError) as caught:
        made.load_state(state)
    assert named in str(caught.value)
    assert (made.stage_index, made.step) == (0, 0)


def test_the_same_training_and_a_longer_one_go_on(state: Checkpoint) -> None:
    for steps in (4, 6):
        made = trainer(plain(steps=steps))
        made.load_state(state)
        assert made.iteration == 4
        made.fit()
        assert made.iteration == steps


def test_a_stage_that_has_ended_cannot_be_made_longer() -> None:
    def two(first: int) -> gencore.Recipe:
        stage = plain().stages[0]
        stages = (dataclasses.replace(stage, steps=first), dataclasses.replace(stage, steps=2, name="second"))
        return plain(stages=stages)

    done = trainer(two(1))
    done.fit()
    longer = trainer(two(5))
    with pytest.raises(GencoreError, match="stages.0: training.steps was 1, now 5"):
        longer.load_state(done.state(), allowed=differences(describe(two(1)), describe(two(5))))


def test_what_a_function_has_captured_tells_it_apart() -> None:
    def made(weight: float) -> Any:
        return lambda o, m, n, b: weight * m.theta.sum()

    same, other = describe(plain(formula=made(1.0))), describe(plain(formula=made(2.0)))
    assert differences(describe(plain(formula=made(1.0))), same) == {}
    assert [place[-1] for place in differences(same, other)] == ["weight"]
    json.dumps(same, allow_nan=False)


def rewrite(path: Path, change: Any) -> None:
    """A checkpoint whose values are changed and whose hashes are right."""
    found = read(path)
    values = copy.deepcopy(dict(found.values))
    changed = change(values)
    write(path.parent, 9, Checkpoint(tensors=found.tensors, values=values if changed is None else changed), keep=9)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: {},
        lambda v: v.update(stage=99),
        lambda v: v.update(stage=-1),
        lambda v: v.update(stage=True),
        lambda v: v.update(step=10**9),
        lambda v: v.update(step="3"),
        lambda v: v.update(training=[]),
        lambda v: v.update(training={"stages": {}}),
        lambda v: v["training"].update(stages=3),
        lambda v: v.update(optimizers=[]),
        lambda v: v["optimizers"].clear(),
        lambda v: v["optimizers"]["generator"].update(param_groups=3),
    ],
)
def test_values_that_cannot_be_are_named_with_their_place(change: Any, state: Checkpoint, tmp_path: Path) -> None:
    rewrite(write(tmp_path, 4, state, keep=1), change)
    with pytest.raises(GencoreError, match="step-00000009"):
        trainer().load_state(read(checkpoints(tmp_path)[-1]))


def test_tensors_of_another_shape_are_named(state: Checkpoint) -> None:
    for broken in (
        {"model/generator.0": torch.zeros(7)},
        {"random/0/cpu": torch.zeros(3)},
        {"ema/ema/0": torch.ones(9)},
    ):
        with pytest.raises(GencoreError, match="the checkpoint"):
            trainer().load_state(dataclasses.replace(state, tensors={**state.tensors, **broken}))
    with pytest.raises(GencoreError, match="the checkpoint"):
        trainer().load_state(dataclasses.replace(state, tensors={}))
