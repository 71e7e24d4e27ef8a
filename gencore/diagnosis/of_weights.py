"""Failures that the weights show: by themselves, or by what they make of data."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gencore.diagnosis.finding import Finding, NotJudgedError

ACTIVE = 0.01
"""Variance over the data of a latent's posterior mean above which the latent is in use (Burda, Grosse & Salakhutdinov
2016, arXiv:1509.00519, section 5)."""
IN_USE = 0.1
"""The share of latents that must be."""
USED = 0.25
"""The share of a codebook that data must come to."""
BEHIND = 0.5
"""The share of the way from the beginning to the live weights that their average must have come."""
LEARNT = 0.02
"""The share of the untrained loss that must be gone."""


def posterior_collapse(means: Tensor) -> Finding:
    """Posterior means (N, ...) of data: hardly any latent depends on the data, so the code says nothing."""
    active = means.flatten(1).float().var(0) > ACTIVE
    count, total = int(active.sum()), active.numel()
    return Finding(count < max(1, IN_USE * total), f"{count} of {total} latents in use; the bar is {IN_USE:.0%}")


def dead_codes(codes: Tensor, num_codes: int, *, books: int | None = None) -> Finding:
    """Data's codes (N, [books,] ...) are few of the `num_codes` of a codebook; of several books the worst counts."""
    each = [codes] if books is None else list(codes.unbind(1))
    used = min(len(book.unique()) for book in each)
    possible = min(num_codes, each[0].numel())
    return Finding(used < USED * possible, f"{used} of {possible} codes in use; the bar is {USED:.0%}")


def average_behind(initial: Mapping[str, Tensor], average: Mapping[str, Tensor], live: Mapping[str, Tensor]) -> Finding:
    """The average that is sampled from is nearer to the untrained weights than to the live ones: along the way
    d = live - initial it has come <average - initial, d> / <d, d>."""
    along, whole = 0.0, 0.0
    for name, tensor in live.items():
        if not tensor.is_floating_point() or torch.equal(tensor, initial[name]):
            continue
        way = (tensor - initial[name]).double()
        along += torch.sum((average[name] - initial[name]).double() * way).item()
        whole += way.square().sum().item()
    if not whole:
        raise NotJudgedError("the live weights are the untrained ones")
    share = along / whole
    return Finding(share < BEHIND, f"the average has come {share:.0%} of the way; the bar is {BEHIND:.0%}")


def not_learning(untrained: float, now: float) -> Finding:
    """The loss of one batch is what it was under the untrained weights, to `LEARNT` of it."""
    return Finding(abs(_gone(untrained, now)) < LEARNT, _losses(untrained, now))


def worse_than_untrained(untrained: float, now: float) -> Finding:
    """The loss of one batch is higher than under the untrained weights, by `LEARNT` of it or more."""
    return Finding(not _gone(untrained, now) > -LEARNT, _losses(untrained, now))


def _gone(untrained: float, now: float) -> float:
    return (untrained - now) / max(abs(untrained), 1e-12)


def _losses(untrained: float, now: float) -> str:
    gone = _gone(untrained, now)
    return f"a batch's loss was {untrained:.4g} untrained, is {now:.4g}: {gone:.1%} less; the bar is {LEARNT:.0%}"
