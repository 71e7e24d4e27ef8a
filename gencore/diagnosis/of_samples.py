"""Failures that samples show beside the data, and a critic's judgement of both."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from gencore.diagnosis.finding import Finding, NotJudgedError

NEIGHBOURS = 5
SIDE = 16
"""Images are shrunk to this many pixels a side before they are compared."""
SAME = 0.1
"""Samples that differ by less than this share of what data differ by are one picture."""
FEW = 0.5
"""The share of the data's classes that must be there."""
OBEYS = 0.25
"""How much of the way from chance to the data's own agreement the samples' must come."""
TRUSTED = 0.6
"""The nearest neighbours' accuracy on data that is needed to believe them about samples."""
BLIND = 0.1
"""Distance from 1/2 of the share of pairs that a critic orders right."""


def one_picture(samples: Tensor, x: Tensor) -> Finding:
    """Samples (N, ...) differ from each other by less than `SAME` of what the data x do (root mean square)."""
    spread, usual = (math.sqrt(part.float().var(0).mean().item()) for part in (samples, x))
    ratio = spread / max(usual, 1e-12)
    return Finding(ratio < SAME, f"samples differ by {spread:.3g}, data by {usual:.3g}: {ratio:.2f}; the bar is {SAME}")


def few_classes(classes: Tensor, label: Tensor) -> Finding:
    """The samples' `classes` (N,) are fewer than `FEW` of those of the data's `label`, counted as exp(entropy)."""
    own, usual = effective_classes(classes), effective_classes(label)
    return Finding(own < FEW * usual, f"samples are of {own:.1f} classes, data of {usual:.1f}; the bar is {FEW} of it")


def labels_ignored(classes: Tensor, asked: Tensor, accuracy: float, num_classes: int) -> Finding:
    """The samples' `classes` (N,) agree with those `asked` for (N,) hardly more often than by chance. `accuracy`: the
    agreement of data with their labels, judged the same way."""
    agree, chance = (classes == asked).float().mean().item(), 1 / num_classes
    bar = chance + OBEYS * (accuracy - chance)
    return Finding(agree < bar, f"{agree:.0%} of the samples are of the class asked for; the bar is {bar:.0%}")


def critic_blind(real: Tensor, noise: Tensor) -> Finding:
    """A critic judges data (N,) no higher than noise (M,): the share of pairs that it orders right is about 1/2, or
    less."""
    share = ordered_right(real, noise)
    return Finding(share < 0.5 + BLIND, f"data stand above noise in {share:.0%} of pairs; the bar is {0.5 + BLIND:.0%}")


def effective_classes(classes: Tensor) -> float:
    """exp(entropy) of the classes (N,) int64: 1 where all are one, K where K are as frequent as each other."""
    share = torch.bincount(classes).double() / len(classes)
    return torch.special.entr(share).sum().exp().item()


def ordered_right(high: Tensor, low: Tensor) -> float:
    """P(high > low) + P(high = low) / 2 over all pairs of (N,) and (M,)."""
    difference = high.double()[:, None] - low.double()[None]
    return (difference.sign().mean().item() + 1) / 2


def nearest_classes(x: Tensor, reference: Tensor, label: Tensor) -> Tensor:
    """The most frequent class (N,) among the `NEIGHBOURS` examples of `reference` (M, ...), of classes `label` (M,),
    that are nearest to each of x (N, ...), after shrinking."""
    distances = torch.cdist(_shrunk(x), _shrunk(reference))
    votes = label[distances.topk(min(NEIGHBOURS, len(reference)), largest=False).indices]
    return F.one_hot(votes, int(label.max()) + 1).sum(1).argmax(1)


def check_trusted(accuracy: float) -> None:
    """Raise NotJudgedError unless the nearest neighbours know the data's own classes."""
    if accuracy < TRUSTED:
        raise NotJudgedError(
            f"nearest neighbours know the class of {accuracy:.0%} of the data only, less than {TRUSTED:.0%}"
        )


def _shrunk(x: Tensor) -> Tensor:
    x = x.float()
    if x.ndim == 4 and max(x.shape[2:]) > SIDE:
        x = F.adaptive_avg_pool2d(x, SIDE)
    return rearrange(x, "n ... -> n (...)")
