"""Figures of merit: numbers that a field compares examples by, where a model names them.

`model.figures_of_merit(x, condition)` gives them for examples, by name, (N,) each. The figure of one is the
Wasserstein-1 distance of its distribution over samples from that over real examples, in its own unit: the mean
distance of their quantiles.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gencore.conditions import of_batch
from gencore.evaluation import intervals
from gencore.evaluation.evaluating import Job, NotApplicableError
from gencore.evaluation.reports import METHOD, Figure


def quantile_distance(a: Tensor, b: Tensor) -> Tensor:
    """Wasserstein-1 between the distributions of each column of a (N, ...) and b (M, ...) -> (...), from as many
    quantiles as the larger one has rows."""
    count = max(len(a), len(b))
    at = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    rows = [value.sort(0).values[(at * len(value)).long()] for value in (a, b)]
    return (rows[0] - rows[1]).abs().mean(0)


def merits(job: Job) -> list[Figure]:
    """One figure for each of the model's figures of merit. Raises NotApplicableError for a model that names none."""
    if not hasattr(job.model, "figures_of_merit"):
        raise NotApplicableError(f"{type(job.model).__name__} names no figures of merit.")
    sampler, kind, options = job.sampler(), job.model.condition, job.options
    samples, condition = job.samples(sampler)
    found = job.model.figures_of_merit(samples, condition)
    reference = job.reference(options.n_real)

    def columns(batch: dict[str, Tensor]) -> Tensor:
        given = None if kind is None else of_batch(kind, batch)
        return torch.stack(list(job.model.figures_of_merit(batch["x"], given).values()), 1)

    real, fake = reference.map(columns).double(), torch.stack(list(found.values()), 1).double()
    measured = {
        "method": METHOD,
        **reference.identity,
        "n_samples": len(fake),
        "distance": "Wasserstein-1",
    }
    drawn = job.drawn() | job.sampler_fields(sampler)
    drawn["interval"] = f"bootstrap, {options.resamples_of(1)} resamples"
    return [
        _figure(
            name, real[:, place], fake[:, place], measured, drawn, resamples=options.resamples_of(1), seed=options.seed
        )
        for place, name in enumerate(found)
    ]


def _figure(
    name: str,
    real: Tensor,
    fake: Tensor,
    measured: dict[str, Any],
    drawn: dict[str, Any],
    *,
    resamples: int,
    seed: int,
) -> Figure:
    def measure(a: Tensor, b: Tensor) -> float:
        return quantile_distance(a, b).item()

    low, high = intervals.of_distance(measure, real, fake, resamples=resamples, seed=seed)
    half = len(real) // 2
    beside = {
        "real against real": measure(real[:half], real[half:]),
        "real mean": real.mean().item(),
        "mean of samples": fake.mean().item(),
    }
    return Figure(
        name=name,
        value=measure(real, fake),
        low=low,
        high=high,
        better="lower",
        measured=measured,
        drawn=drawn,
        beside=beside,
    )
