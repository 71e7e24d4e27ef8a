"""What a trained model draws when it is asked for samples and nothing else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gencore.evaluation import frechet_distance


def draws_nearer(model: Any, x: Tensor, *, share: float = 0.7) -> None:
    """The default sampler of a trained model draws nearer to data x (N, ...) than that of random weights: the Frechet
    distance of the numbers themselves is at most `share` of theirs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = type(model)(model.config)
    here, there = (distance_of_default_samples(each, x) for each in (model, untrained))
    assert here < share * there, f"the default sampler is {here:.3g} from the data, {there:.3g} without training"


def distance_of_default_samples(model: Any, x: Tensor) -> float:
    """Of 400 samples to x (N, ...)."""
    return float(frechet_distance(model.sample(400, seed=0, batch_size=400).flatten(1), x.flatten(1)))
