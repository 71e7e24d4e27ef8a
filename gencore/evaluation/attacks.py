"""Attacks on a classifier: changes of at most epsilon in each number of x that raise its loss.

    FGSM           x + epsilon sign(grad_x J(x, y))           (Goodfellow et al. 2015, arXiv:1412.6572, section 4)
    PGD            x_{t+1} = P(x_t + step sign(grad_x J(x_t, y))), x_0 = x + U[-epsilon, epsilon],
                   P the nearest point of the box |x' - x| <= epsilon      (Madry et al. 2018, arXiv:1706.06083, eq. 2)
    random signs   x + epsilon s, each s in {-1, 1}: as large, and no attack: what the direction is to be compared with
J is the cross-entropy. Images are in [-1, 1], twice as wide as the papers' [0, 1]: their epsilon 0.25 is 0.5 here.
`logits` is a function of x alone, for a model in evaluation mode: `model.judge` of a classifier.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from gencore.config import check
from gencore.errors import GencoreError
from gencore.noise import NoiseSource

Logits = Callable[[Tensor], Tensor]
Bounds = tuple[float, float]


def fgsm(logits: Logits, x: Tensor, label: Tensor, *, epsilon: float, bounds: Bounds | None = None) -> Tensor:
    """x (N, ...) moved by epsilon along the sign of the slope, clipped to `bounds` if given; detached.

    Where the slope is 0, x stays. Raises GencoreError for labels that do not go with x.
    """
    _check(x, label, epsilon)
    return _clip(x + epsilon * _slope(logits, x, label).sign(), bounds)


def pgd(
    logits: Logits,
    x: Tensor,
    label: Tensor,
    *,
    epsilon: float,
    steps: int = 10,
    step_size: float | None = None,
    noise: NoiseSource | None = None,
    bounds: Bounds | None = None,
) -> Tensor:
    """The point after `steps` steps of `step_size` (2.5 epsilon / steps if None) within epsilon of x; detached.

    `noise`: from where the start in the box is drawn; x itself if None.
    """
    _check(x, label, epsilon)
    check(steps >= 1, "steps", steps, "at least 1")
    rate = 2.5 * epsilon / steps if step_size is None else step_size
    check(rate >= 0, "step_size", rate, "0 or more")
    start = x if noise is None else x + epsilon * (2 * noise.uniform(*x.shape[1:]) - 1)
    moved = _clip(start.detach(), bounds)
    for _ in range(steps):
        moved = moved + rate * _slope(logits, moved, label).sign()
        moved = _clip(x + (moved - x).clamp(-epsilon, epsilon), bounds)
    return moved


def random_signs(x: Tensor, noise: NoiseSource, *, epsilon: float, bounds: Bounds | None = None) -> Tensor:
    """x (N, ...) moved by epsilon up or down in each number, at random."""
    check(epsilon >= 0, "epsilon", epsilon, "0 or more")
    return _clip(x + epsilon * (2 * noise.integers(2, *x.shape[1:]) - 1).to(x.dtype), bounds)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """Accuracies, each in [0, 1]: of clean data, after the attack, and after random signs of the same size."""

    clean: float
    attacked: float
    random: float


def robustness(
    logits: Logits, x: Tensor, label: Tensor, attack: Callable[[Tensor, Tensor], Tensor], noised: Callable[..., Tensor]
) -> Robustness:
    """`attack(x, label)` and `noised(x)` give the changed examples; all of x (N, ...) in one batch."""

    @torch.no_grad()
    def right(examples: Tensor) -> float:
        return (logits(examples).argmax(1) == label).float().mean().item()

    return Robustness(clean=right(x), attacked=right(attack(x, label)), random=right(noised(x)))


@torch.enable_grad()
def _slope(logits: Logits, x: Tensor, label: Tensor) -> Tensor:
    """grad_x J(x, y), detached: of the sum over the batch, so that an example's does not depend on the others."""
    moving = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(F.cross_entropy(logits(moving), label, reduction="sum"), moving)
    return slope


def _clip(x: Tensor, bounds: Bounds | None) -> Tensor:
    return x.detach() if bounds is None else x.detach().clamp(*bounds)


def _check(x: Tensor, label: Tensor, epsilon: float) -> None:
    check(epsilon >= 0, "epsilon", epsilon, "0 or more")
    if label.shape != (len(x),) or label.is_floating_point():
        raise GencoreError(
            f"The labels are {tuple(label.shape)} {label.dtype}; expected ({len(x)},) integers, one for each example."
        )
