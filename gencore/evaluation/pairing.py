"""Verification with a model's codes, beside random weights and raw data: the same pairs for all of them.

AUC       the probability that a pair of one class is nearer than a pair of two
accuracy  of the best threshold of the other folds (gencore.evaluation.verification)
VAL       at the largest threshold whose FAR on the other folds is at most the one asked for; the FAR that it has on
          its own fold stands beside it (Schroff et al. 2015, arXiv:1503.03832, section 4)
recall@1  the share of examples whose nearest other one is of their class
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gencore.config import check
from gencore.data.source import Source
from gencore.errors import GencoreError
from gencore.evaluation.beside import with_baselines
from gencore.evaluation.retrieval import Metric, nearest, same_class_recall
from gencore.evaluation.verification import Roc, accuracy_over_folds, area_under_roc, draw_pairs, roc, val_at_far
from gencore.latent.codes import encode_all
from gencore.nn.pairwise import pair_distances

Pairs = tuple[Tensor, Tensor, Tensor]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VerifyRow:
    """Whose codes, their dimension, and rates in [0, 1]; `accuracy` and `val` are (mean, standard error over folds)."""

    codes: str
    dim: int
    auc: float
    accuracy: tuple[float, float]
    val: tuple[float, float]
    far: float
    recall: float
    curve: Roc


def verify_rows(
    model: Any,
    source: Source,
    *,
    pairs: int = 3000,
    far: float = 0.001,
    folds: int = 10,
    metric: Metric = "euclidean",
    seed: int = 0,
) -> tuple[VerifyRow, ...]:
    """The model, random weights, raw data, on `pairs` pairs of one class and as many of two, drawn from `seed`.

    Raises GencoreError for data without labels or with one class, and for a FAR below what so many pairs can show.
    """
    check(metric in ("euclidean", "cosine"), "metric", metric, '"euclidean" or "cosine"')
    rows = []
    for name, encoder in with_baselines(model, seed=seed):
        codes = encode_all(encoder, source)
        if codes.label is None:
            raise GencoreError(f"{source.name} has no labels to tell which pairs are of one class.")
        z = F.normalize(codes.z) if metric == "cosine" else codes.z
        first, second, same = draw_pairs(codes.label, pairs, seed=seed)
        distance = pair_distances(z[first], z[second])
        val, error, reached = val_over_folds(distance, same, far, folds=folds)
        found, _ = nearest(z, z, 1, exclude_self=True)
        rows.append(
            VerifyRow(
                codes=name,
                dim=z.shape[1],
                auc=area_under_roc(distance, same),
                accuracy=accuracy_over_folds(distance, same, folds=folds),
                val=(val, error),
                far=reached,
                recall=same_class_recall(found, codes.label, codes.label),
                curve=roc(distance, same),
            )
        )
    return tuple(rows)


def val_over_folds(distance: Tensor, same: Tensor, far: float, *, folds: int = 10) -> tuple[float, float, float]:
    """(mean VAL, its standard error, mean FAR) on each fold, at the threshold of the other folds whose FAR is `far`.

    Distances (N,), same (N,) bool; pair i is in fold i * folds // N. Raises GencoreError for folds without one kind of
    pair, and where `far` is less than one pair of the other folds.
    """
    check(2 <= folds <= len(distance), "folds", folds, f"2 to {len(distance)}")
    fold = torch.arange(len(distance)) * folds // len(distance)
    rates = []
    for number in range(folds):
        own = fold == number
        others = int((~same[~own]).sum())
        if far * others < 1:
            raise GencoreError(
                f"FAR {far:g} is less than one of the {others} pairs of two classes in the other folds: take more "
                f"pairs, or a FAR of {1 / max(others, 1):.2g} or more."
            )
        kinds = same[own]
        if kinds.all() or not kinds.any():
            raise GencoreError(f"Fold {number} has pairs of one kind only; take fewer folds than {folds}.")
        _, threshold = val_at_far(distance[~own], same[~own], far)
        accepted = distance[own].double() <= threshold
        rates.append(torch.stack([accepted[kinds].double().mean(), accepted[~kinds].double().mean()]))
    stacked = torch.stack(rates)
    val, reached = stacked.mean(0).tolist()
    return val, (stacked[:, 0].std() / folds**0.5).item(), reached
