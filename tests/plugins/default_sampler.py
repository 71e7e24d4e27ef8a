"""What a trained model draws when it is asked for samples and nothing else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gencore.evaluation import frechet_distance


def draws_nearer(model: Any, x: Tensor, *, share: float = 0.7, condition: Tensor | None = None, n: int = 400) -> None:
    """The default sampler of a trained model draws nearer to data x (N, ...) than that of random weights: the Frechet
    distance of the numbers themselves is at most `share` of theirs. `condition`: for models that draw what a sentence
    says, the sentences of x (N, T); other conditional models draw their classes in turn. `n`: samples."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = type(model)(model.config)
    here, there = (distance_of_default_samples(each, x, condition, n) for each in (model, untrained))
    assert here < share * there, f"the default sampler is {here:.3g} from the data, {there:.3g} without training"


def distance_of_default_samples(model: Any, x: Tensor, condition: Tensor | None = None, n: int = 400) -> float:
    """Of n samples to x (N, ...)."""
    told = None if condition is None else condition[:n]
    drawn = model.sample(n, seed=0, batch_size=n, condition=told)
    return float(frechet_distance(some_of(drawn.flatten(1)), some_of(x.flatten(1))))


def some_of(x: Tensor) -> Tensor:
    """x (N, D) where D is at most 600, else 256 random mixtures of its numbers, the same each time: the distance costs
    D^3, and 400 samples do not fill more."""
    if x.shape[1] <= 600:
        return x
    generator = torch.Generator().manual_seed(0)
    return x @ torch.randn(x.shape[1], 256, generator=generator) / x.shape[1] ** 0.5
