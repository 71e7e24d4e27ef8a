"""Failures that the log shows: each provoked by a real little training, and not found in a sound one."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import gencore
from gencore import Adam
from gencore.data import arrays, open_source
from gencore.diagnosis import of_log
from gencore.diagnosis.finding import NotJudgedError
from gencore.errors import NonFiniteError
from gencore.training.heldout import HeldOut
from gencore.training.metrics_log import MetricsLog, read_log

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Lines]:
    """The log of a training of `system` on digits, in which some phases are changed: phase={field: value}."""

    def train(system: str, *, phases: dict[str, dict[str, Any]] | None = None, **options: Any) -> Lines:
        made = gencore.recipe(system, **options)
        stages = tuple(
            dataclasses.replace(
                stage, phases=tuple(dataclasses.replace(p, **(phases or {}).get(p.name, {})) for p in stage.phases)
            )
            for stage in made.stages
        )
        log = MetricsLog(tmp_path_factory.mktemp("log") / "metrics.jsonl", every=2)
        trainer = gencore.Trainer(
            dataclasses.replace(made, stages=stages), open_source("digits"), cpu=True, callbacks=(log,)
        )
        with contextlib.suppress(NonFiniteError):
            trainer.fit()
        return read_log(log.path)[0]

    return train


@pytest.fixture(scope="module")
def sound_game(trained: Callable[..., Lines]) -> Lines:
    return trained("gan", steps=60, hidden=(32,))


@pytest.fixture(scope="module")
def lost_game(trained: Callable[..., Lines]) -> Lines:
    """A generator that stands still, by the loss that saturates, against a fast critic."""
    still = {"generator": {"optimizer": Adam(learning_rate=1e-9)}, "critic": {"optimizer": Adam(learning_rate=0.03)}}
    return trained("gan", steps=60, hidden=(32,), generator_loss="minimax", phases=still)


@pytest.fixture(scope="module")
def sound_descent(trained: Callable[..., Lines]) -> Lines:
    return trained("deep-autoencoder", steps=60, hidden=(32,))


def test_a_critic_that_always_wins_is_saturated(sound_game: Lines, lost_game: Lines, sound_descent: Lines) -> None:
    assert of_log.critic_saturated(lost_game).found
    assert not of_log.critic_saturated(sound_game).found
    with pytest.raises(NotJudgedError, match="no critic's loss"):
        of_log.critic_saturated(sound_descent)


def test_its_generator_has_no_gradient_left(sound_game: Lines, lost_game: Lines, sound_descent: Lines) -> None:
    assert of_log.generator_gradient_gone(lost_game).found
    assert not of_log.generator_gradient_gone(sound_game).found
    with pytest.raises(NotJudgedError, match="no critic"):
        of_log.generator_gradient_gone(sound_descent)


@pytest.fixture(scope="module")
def steep_descent(trained: Callable[..., Lines]) -> Lines:
    """A learning rate that is raised a thousandfold after three fifths."""
    raised = {"autoencoder": {"schedule": lambda step: 1.0 if step < 40 else 1000.0}}
    return trained("deep-autoencoder", steps=60, hidden=(32,), phases=raised)


def test_a_learning_rate_that_is_too_high_lets_the_loss_rise(
    steep_descent: Lines, sound_descent: Lines, sound_game: Lines
) -> None:
    finding = of_log.loss_rising(steep_descent)
    assert finding.found
    assert finding.measured.startswith("autoencoder/loss was ")
    assert not of_log.loss_rising(sound_descent).found
    with pytest.raises(NotJudgedError, match="no phase minimises a loss alone"):
        of_log.loss_rising(sound_game)


def test_and_the_gradient_explode(steep_descent: Lines, sound_descent: Lines, sound_game: Lines) -> None:
    assert of_log.gradient_exploded(steep_descent).found
    assert not of_log.gradient_exploded(sound_descent).found
    assert not of_log.gradient_exploded(sound_game).found


@pytest.mark.parametrize(("examples", "learnt_by_heart"), [(8, True), (1000, False)])
def test_few_examples_are_learnt_by_heart(examples: int, learnt_by_heart: bool, tmp_path: Path) -> None:
    made = gencore.recipe("vae", steps=300, hidden=(64,), batch_size=8, learning_rate=3e-3)
    held = HeldOut(lambda: open_source("digits", split="test"), every=10, log_every=10, seed=0)
    log = MetricsLog(tmp_path / "metrics.jsonl", every=10)
    few = open_source("digits").fetch(torch.arange(examples))
    gencore.Trainer(made, arrays(few["x"]), cpu=True, callbacks=(held, log)).fit()
    lines = read_log(log.path)[0]
    assert of_log.overfitting(lines).found is learnt_by_heart
    assert not of_log.loss_rising(lines).found
    with pytest.raises(NotJudgedError, match="--evaluate-every"):
        of_log.overfitting([{k: v for k, v in line.items() if "heldout" not in k} for line in lines])


def test_a_loss_without_a_floor_is_not_saturated(trained: Callable[..., Lines]) -> None:
    scores = trained("wgan", steps=20, width=8, critic_steps=1)
    with pytest.raises(NotJudgedError, match="no floor"):
        of_log.critic_saturated(scores)


def test_a_log_that_ends_on_no_number(sound_descent: Lines) -> None:
    assert not of_log.stopped(sound_descent).found
    last = {**sound_descent[-1], "autoencoder/loss": float("inf")}
    finding = of_log.stopped([*sound_descent, last])
    assert finding.found
    assert "autoencoder/loss not finite" in finding.measured
    with pytest.raises(NotJudgedError, match="nothing was logged"):
        of_log.stopped([])


def test_a_short_log_is_not_judged(sound_descent: Lines, sound_game: Lines) -> None:
    for check in (of_log.loss_rising, of_log.gradient_exploded):
        with pytest.raises(NotJudgedError, match="fewer than 10 lines"):
            check(sound_descent[:9])
    for check in (of_log.critic_saturated, of_log.generator_gradient_gone):
        with pytest.raises(NotJudgedError, match="fewer than 10 lines"):
            check(sound_game[:9])
