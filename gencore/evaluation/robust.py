"""How a model's accuracy falls under attack: its own logits, or those of a linear probe on its codes.

The attacks are those of gencore.evaluation.attacks; random signs of the same size stand beside them, since a classifier
that falls to the attack and not to these is wrong in one direction, not in noise.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
from torch import Tensor

from gencore.config import check
from gencore.data.source import Source
from gencore.errors import GencoreError
from gencore.evaluation.attacks import Bounds, Logits, fgsm, pgd, random_signs
from gencore.evaluation.probe import linear_probe
from gencore.evaluation_mode import evaluating
from gencore.latent.codes import encode_all, mean_of
from gencore.noise import Noise

IMAGES: Bounds = (-1.0, 1.0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Class logits x (N, ...) -> (N, classes), and whose they are: "own", or a "probe" on the codes."""

    logits: Logits
    whose: Literal["own", "probe"]
    device: torch.device


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AttackRow:
    """The attack's size, and accuracies in [0, 1]: of clean data, random signs of that size, and attacked data."""

    epsilon: float
    clean: float
    random: float
    attacked: float


def target_of(model: Any, train: Source) -> Target:
    """The model's class logits where it has some (`class_logits`, or `judge` with a row of classes), else a linear
    probe on its codes, fitted to `train`.

    Raises GencoreError for data without labels or of more classes than the model's, and for a model with neither.
    """
    if train.num_classes is None:
        raise GencoreError(f"{train.name} has no labels: an attack turns a right answer into a wrong one.")
    model = evaluating(model)
    own = _own_logits(model, train)
    if own is not None:
        return Target(logits=own, whose="own", device=model.device)
    if not hasattr(model, "encode"):
        raise GencoreError(f"{type(model).__name__} neither names classes nor encodes: there is nothing to attack.")
    codes = encode_all(model, train)
    assert codes.label is not None
    probe = linear_probe(codes.z, codes.label)
    probe.to(model.device)
    return Target(logits=lambda x: probe(mean_of(model.encode(x)).flatten(1)), whose="probe", device=model.device)


def attack_rows(
    target: Target,
    source: Source,
    epsilons: tuple[float, ...],
    *,
    steps: int = 0,
    bounds: Bounds | None = IMAGES,
    seed: int = 0,
    batch_size: int = 256,
) -> tuple[AttackRow, ...]:
    """A row for each epsilon, on all of `source`. `steps`: 0 is FGSM, more is PGD from a random start in the box.

    What is drawn for example i depends on (seed, i) alone. Raises GencoreError for negative sizes.
    """
    check(steps >= 0, "steps", steps, "0 for FGSM, or more for PGD")
    check(bool(epsilons), "epsilon", epsilons, "at least one number")
    if source.num_classes is None:
        raise GencoreError(f"{source.name} has no labels: an attack turns a right answer into a wrong one.")
    right = torch.zeros(len(epsilons), 3, dtype=torch.float64)
    for rows in torch.arange(len(source)).split(batch_size):
        batch = source.fetch(rows)
        x, label = batch["x"].to(target.device), batch["label"].to(target.device)
        for place, epsilon in enumerate(epsilons):
            versions = attacked(target.logits, x, label, epsilon, steps, bounds, seed, int(rows[0]))
            right[place] += torch.stack([_right(target.logits, version, label) for version in versions]).cpu()
    shares = (right / len(source)).tolist()
    return tuple(
        AttackRow(epsilon=epsilon, clean=clean, random=noised, attacked=changed)
        for epsilon, (clean, noised, changed) in zip(epsilons, shares, strict=True)
    )


def attacked(
    logits: Logits,
    x: Tensor,
    label: Tensor,
    epsilon: float,
    steps: int,
    bounds: Bounds | None,
    seed: int = 0,
    start: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """x (N, ...) as it is, with random signs, and attacked; example i draws from stream (seed, start + i)."""
    noise = Noise(seed, start, len(x), device=x.device)
    noised = random_signs(x, noise, epsilon=epsilon, bounds=bounds)
    if steps == 0:
        return x, noised, fgsm(logits, x, label, epsilon=epsilon, bounds=bounds)
    return x, noised, pgd(logits, x, label, epsilon=epsilon, steps=steps, noise=noise, bounds=bounds)


@torch.no_grad()
def _right(logits: Logits, x: Tensor, label: Tensor) -> Tensor:
    return (logits(x).argmax(1) == label).double().sum()


def _own_logits(model: Any, source: Source) -> Logits | None:
    """The first of `class_logits` and `judge` that gives a number for each class: what `classify` goes by, or, without
    that, as many as the config's `num_classes` (a critic's features, and a pretext's answers, are no classes).
    """
    x = source.fetch(torch.arange(min(16, len(source))))["x"].to(model.device)
    classes = source.num_classes or 0
    for name in ("class_logits", "judge"):
        function: Logits | None = getattr(model, name, None)
        with torch.no_grad():
            row = None if function is None else function(x)
        if row is None or row.ndim != 2:
            continue
        if hasattr(model, "classify"):
            named = torch.equal(row.argmax(1), model.classify(x))
        else:
            named = row.shape[1] == getattr(model.config, "num_classes", None)
        if named and row.shape[1] < classes:
            raise GencoreError(f"The model names {row.shape[1]} classes, and {source.name} has {classes}.")
        if named:
            return function
    return None
