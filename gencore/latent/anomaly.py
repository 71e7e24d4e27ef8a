"""Anomaly scores: larger is stranger.

reconstruction   ||x - r(x)||^2
likelihood       -log p(x), or minus the bound on it where the model has only that; nats

Trivial scores (the distance to the mean of the training data) are often as good: print them beside these. A high
likelihood is no proof of normality (Nalisnick et al. 2019, arXiv:1810.09136).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from gencore.config import check
from gencore.data.source import check_batch
from gencore.errors import GencoreError, NonFiniteError
from gencore.latent.codes import in_batches, reconstruct


def anomaly_scores(
    model: Any, x: Tensor, *, by: Literal["reconstruction", "likelihood"] = "reconstruction", k: int = 64
) -> Tensor:
    """Scores (N,) of examples x (N, *shape). `k`: the importance samples of a bound.

    Raises GencoreError where the model cannot reconstruct, or has neither `log_prob` nor `bound`.
    """
    check_batch({"x": x}, tuple(x.shape[1:]))
    if by == "reconstruction":
        return (reconstruct(model, x) - x).square().flatten(1).sum(1)
    check(by == "likelihood", "by", by, '"reconstruction" or "likelihood"')
    if hasattr(model, "log_prob"):
        return -in_batches(model, model.log_prob, x)
    if hasattr(model, "bound"):
        return -in_batches(model, lambda rows: model.bound(rows, k), x)
    raise GencoreError(f'{type(model).__name__} has no likelihood; score by="reconstruction".')


def auroc(scores: Tensor, anomalous: Tensor) -> float:
    """The probability that an anomaly scores above a normal example, ties counted half (Mann-Whitney U).

    scores (N,) floating point, anomalous (N,) bool with both kinds present.
    """
    if scores.ndim != 1 or scores.shape != anomalous.shape or anomalous.dtype != torch.bool:
        raise GencoreError(
            f"scores are {tuple(scores.shape)} and anomalous {tuple(anomalous.shape)} {anomalous.dtype}; expected "
            "(N,) numbers and (N,) bool."
        )
    if not scores.isfinite().all():
        raise NonFiniteError("The scores hold NaN or infinity.")
    positives = int(anomalous.sum())
    negatives = len(anomalous) - positives
    if not positives or not negatives:
        raise GencoreError(f"There are {positives} anomalies and {negatives} normal examples; expected some of both.")
    _, place, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0).double() - (counts - 1) / 2)[place]
    return ((ranks[anomalous].sum() - positives * (positives + 1) / 2) / (positives * negatives)).item()
