"""Same or not: pairs judged by the distance of their codes (Schroff et al. 2015, arXiv:1503.03832, section 4).

    VAL(d) = |{same pairs with distance <= d}| / |same|         validation rate: right acceptances   (equation 6)
    FAR(d) = |{other pairs with distance <= d}| / |other|       false acceptances
The accuracy is that of a threshold chosen on other folds than the one it is used on, as for Labeled Faces in the Wild
(Huang et al. 2007): a threshold chosen on its own pairs flatters.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError
from gencore.latent.anomaly import auroc


def draw_pairs(label: Tensor, count: int, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """`count` pairs of one class and as many of two: (first (2 count,), second (2 count,), same (2 count,) bool).

    Kinds take turns, and no example is paired with itself. Raises GencoreError without a class of two examples, or
    with one class only.
    """
    check(count >= 1, "count", count, "at least 1")
    generator = torch.Generator().manual_seed(seed)
    rows = [(label == kind).nonzero()[:, 0] for kind in label.unique()]
    shared = [row for row in rows if len(row) > 1]
    if not shared or len(rows) < 2:
        raise GencoreError(f"{len(rows)} classes, {len(shared)} of them with two examples; pairs need 2 and 1 of them.")

    def draw(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    first, second = [], []
    for _ in range(count):
        row = shared[draw(len(shared))]
        i = draw(len(row))
        first.append(row[i])
        second.append(row[(i + 1 + draw(len(row) - 1)) % len(row)])
        kind = draw(len(rows))
        other = rows[(kind + 1 + draw(len(rows) - 1)) % len(rows)]
        first.append(rows[kind][draw(len(rows[kind]))])
        second.append(other[draw(len(other))])
    return torch.stack(first), torch.stack(second), torch.arange(2 * count) % 2 == 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Roc:
    """VAL and FAR at each threshold of the distance, ascending; (T,) float64 each. The first accepts nothing."""

    threshold: Tensor
    val: Tensor
    far: Tensor


def roc(distance: Tensor, same: Tensor) -> Roc:
    """Of pairs with distances (N,) and same (N,) bool: at every distance that occurs. Raises GencoreError."""
    _check(distance, same)
    threshold, place = distance.double().unique(return_inverse=True)
    accepted = torch.zeros(2, len(threshold), dtype=torch.float64)
    accepted[0].index_add_(0, place[same], torch.ones(int(same.sum()), dtype=torch.float64))
    accepted[1].index_add_(0, place[~same], torch.ones(int((~same).sum()), dtype=torch.float64))
    rates = torch.cat([torch.zeros(2, 1, dtype=torch.float64), accepted.cumsum(1)], 1)
    val, far = rates / rates[:, -1:]
    return Roc(threshold=torch.cat([threshold.new_tensor([-torch.inf]), threshold]), val=val, far=far)


def val_at_far(distance: Tensor, same: Tensor, far: float) -> tuple[float, float]:
    """(VAL, threshold) at the largest threshold whose FAR is at most `far`."""
    check(0 <= far <= 1, "far", far, "a rate in [0, 1]")
    curve = roc(distance, same)
    last = int((curve.far <= far).nonzero()[-1])
    return curve.val[last].item(), curve.threshold[last].item()


def area_under_roc(distance: Tensor, same: Tensor) -> float:
    """The probability that a pair of one class is nearer than a pair of two, ties counted half."""
    return auroc(-distance, same)


def best_threshold(distance: Tensor, same: Tensor) -> float:
    """The distance up to which to accept for the most right answers, midway to the next one; of equals the smallest."""
    curve = roc(distance, same)
    right = (curve.val * same.sum()).round() - (curve.far * (~same).sum()).round()
    best = int(right.argmax())
    following = curve.threshold[min(best + 1, len(curve.threshold) - 1)]
    return following.item() if best == 0 else ((curve.threshold[best] + following) / 2).item()


def accuracy_over_folds(distance: Tensor, same: Tensor, *, folds: int = 10) -> tuple[float, float]:
    """Mean and standard error of the accuracy on each fold, its threshold being the best one of the other folds.

    Pair i is in fold i * folds // N. Raises GencoreError for folds that leave the others without one kind of pair.
    """
    check(2 <= folds <= len(distance), "folds", folds, f"2 to {len(distance)}")
    fold = torch.arange(len(distance)) * folds // len(distance)
    rates = []
    for number in range(folds):
        own = fold == number
        accepted = distance[own] <= best_threshold(distance[~own], same[~own])
        rates.append((accepted == same[own]).double().mean())
    stacked = torch.stack(rates)
    return stacked.mean().item(), (stacked.std() / folds**0.5).item()


def _check(distance: Tensor, same: Tensor) -> None:
    if distance.ndim != 1 or distance.shape != same.shape or same.dtype != torch.bool or not distance.isfinite().all():
        raise GencoreError(
            f"distances are {tuple(distance.shape)} and same {tuple(same.shape)} {same.dtype}; expected (N,) finite "
            "numbers and (N,) bool."
        )
    if same.all() or not same.any():
        raise GencoreError(f"There are {int(same.sum())} pairs of one class among {len(same)}; expected some of both.")
