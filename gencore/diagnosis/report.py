"""The failures that `gencore diagnose` knows, each judged by one small function, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from gencore.diagnosis import of_data, of_log, of_samples, of_weights
from gencore.diagnosis.evidence import Evidence
from gencore.diagnosis.finding import Finding, NotJudgedError
from gencore.errors import GencoreError


class Check(NamedTuple):
    """A failure, how it is judged, and what helps."""

    name: str
    judge: Callable[[Evidence], Finding]
    advice: str


class Verdict(NamedTuple):
    """What a check said: "found", "fine", or "not judged"."""

    name: str
    verdict: str
    measured: str
    advice: str


CHECKS = (
    Check(
        "not-a-number",
        lambda run: of_log.stopped(run.lines),
        "Lower the learning rate, set max_gradient_norm, or look at the data; then --resume.",
    ),
    Check(
        "data-range-wrong",
        lambda run: of_data.range_wrong(run.batch["x"]),
        "Say what the stored numbers run through: --data-range LOW,HIGH.",
    ),
    Check(
        "not-learning",
        lambda run: of_weights.not_learning(*run.losses),
        "Raise the learning rate, train longer, or check that the data are what they should be.",
    ),
    Check(
        "learning-rate-too-high",
        lambda run: _rate(run),
        "Lower the learning rate (--set learning_rate=...), or enlarge the batch.",
    ),
    Check(
        "overfitting",
        lambda run: of_log.overfitting(run.lines),
        "Stop where the held-out loss was lowest (--steps), take more data, or a smaller network.",
    ),
    Check(
        "gradient-exploded",
        lambda run: of_log.gradient_exploded(run.lines),
        "Lower the learning rate, or hold the network's slope: a gradient penalty, spectral normalisation.",
    ),
    Check(
        "critic-saturated",
        lambda run: of_log.critic_saturated(run.lines),
        "Weaken the critic: fewer critic_steps, a penalty (gan-r1, wgan-gp), noise on what it sees.",
    ),
    Check(
        "generator-gradient-gone",
        lambda run: of_log.generator_gradient_gone(run.lines),
        "Take the non-saturating loss, or a critic that is held flat (gan-r1, wgan-gp, sn-gan).",
    ),
    Check(
        "critic-blind",
        lambda run: of_samples.critic_blind(*run.judged()),
        "Train the critic more: more critic_steps, a higher learning rate, less regularisation.",
    ),
    Check(
        "one-picture",
        lambda run: of_samples.one_picture(run.samples, run.batch["x"]),
        "The model draws one thing: lower the learning rate, let the critic see batches (improved-gan), or a penalty.",
    ),
    Check(
        "few-classes",
        lambda run: of_samples.few_classes(run.classes, run.batch["label"]),
        "Classes are left out: condition on the class, or take a loss that covers them (wgan-gp, vae, ddpm).",
    ),
    Check(
        "labels-ignored",
        lambda run: _labels(run),
        "Train longer, raise the guidance, or check that the labels belong to the pictures.",
    ),
    Check(
        "posterior-collapse",
        lambda run: of_weights.posterior_collapse(run.posterior_means()),
        "Lower beta, or let some of the KL cost nothing (free_bits); a weaker decoder needs the code more.",
    ),
    Check(
        "dead-codes",
        lambda run: of_weights.dead_codes(
            run.codes(), run.model.config.num_codes, books=getattr(run.model.config, "books", None)
        ),
        "Begin with k-means (kmeans_iterations), restart dead codes (restart_below), or take fewer.",
    ),
    Check(
        "average-behind",
        lambda run: of_weights.average_behind(*run.weights()),
        "Shorten the average's half-life, or train longer.",
    ),
)


def _labels(run: Evidence) -> Finding:
    from gencore.conditions import ClassLabel

    if not isinstance(run.model.condition, ClassLabel):
        raise NotJudgedError("the model takes no classes")
    assert run.condition is not None
    return of_samples.labels_ignored(run.classes, run.condition, run.accuracy, run.model.condition.count)


def _rate(run: Evidence) -> Finding:
    """The log's judgement, and where it finds nothing that of the weights, if they can be judged."""
    rising = of_log.loss_rising(run.lines)
    try:
        worse = of_weights.worse_than_untrained(*run.losses)
    except NotJudgedError:
        return rising
    return worse if worse.found and not rising.found else rising


def diagnose(run: Evidence) -> Iterator[Verdict]:
    """All checks, one after the other; what cannot be judged says why."""
    for check in CHECKS:
        try:
            found, measured = check.judge(run)
        except (NotJudgedError, GencoreError) as error:
            yield Verdict(check.name, "not judged", str(error), "")
        else:
            yield Verdict(check.name, "found" if found else "fine", measured, check.advice if found else "")
