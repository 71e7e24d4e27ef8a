"""Samples of class-conditional systems on the digits, judged by a classifier that is no part of them."""

from __future__ import annotations

from typing import Any

import torch

import gencore
from gencore.data import digits
from tests.judges.classifiers import digit_classifier


def trained(system: str, *, seed: int, steps: int, **arguments: Any) -> Any:
    """The system, trained on the digits, with what it publishes."""
    recipe = gencore.recipe(system, steps=steps, **arguments)
    trainer = gencore.Trainer(recipe, digits("train"), seed=seed, cpu=True)
    trainer.fit()
    with trainer.published() as model:
        return model.eval()


def class_accuracy(model: Any, n: int = 500) -> float:
    """The share of samples whose class the judge names as it was asked for; the classes are drawn in turn."""
    return digit_classifier(8).accuracy(model.sample(n, seed=1), torch.arange(n) % 10)


def spread_within_classes(model: Any, n: int = 500) -> float:
    """The standard deviation within a class, over that of the data: near 0 for one picture a class."""
    real = digits("train")
    drawn, x, label = model.sample(n, seed=1), real.x, real.label
    assert label is not None
    own = torch.stack([drawn[k::10].std(0).mean() for k in range(10)]).mean()
    true = torch.stack([x[label == k].std(0).mean() for k in range(10)]).mean()
    return (own / true).item()
