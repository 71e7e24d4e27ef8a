"""Losses on pairs and triplets of codes, and the triplets themselves, without ever holding an N x N matrix.

d is the Euclidean distance of two codes:
    contrastive   d^2 / 2 for codes of one class, [m - d]+^2 / 2 for others   (Hadsell et al. 2006, equation 4)
                  d and [m - d]+                                             (Simo-Serra et al. 2015, equation 1)
    triplet       [d(a, p) - d(a, n) + m]+ , on squared distances: FaceNet's (Schroff et al. 2015, arXiv:1503.03832,
                  equation 3)
    semi-hard     the n nearest to a of those farther than p                 (the same, section 3.2)
Distances come block by block of at most BLOCK numbers; a loss over all pairs takes its slopes along with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import relu

from gencore.config import check
from gencore.errors import GencoreError

BLOCK = 2**20
"""Numbers in the largest block of distances: 4 MiB of float32."""


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances of codes a (N, D) and b (M, D), (N, M); where it is 0 the gradient is 0.

    By differences, not by products: those lose half the digits where codes are near.
    """
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def pair_distances(a: Tensor, b: Tensor) -> Tensor:
    """The distance of each row of a (N, D) from the same row of b, (N,); where it is 0 the gradient is 0."""
    return torch.linalg.vector_norm(a - b, dim=1)


def contrastive_terms(distance: Tensor, same: Tensor, *, margin: float, squared: bool = True) -> Tensor:
    """The loss of each pair, from distances (...) and whether it is of one class, (...) bool."""
    short = relu(margin - distance)
    return torch.where(same, distance**2 / 2, short**2 / 2) if squared else torch.where(same, distance, short)


def contrastive_loss(z: Tensor, label: Tensor, *, margin: float = 1.0, squared: bool = True) -> Tensor:
    """The mean over all pairs of one class, plus the mean over all pairs of different classes; a scalar.

    Codes z (N, D), label (N,) integers. A mean over no pairs is 0. Memory is O(N), forward and backward; the slopes are
    taken in the forward pass, so there is no second derivative.
    """
    check(margin > 0, "margin", margin, "a positive number")
    _check_codes(z, label)
    sizes = torch.unique(label, return_counts=True)[1]
    alike = int((sizes * (sizes - 1)).sum())
    different = len(z) * (len(z) - 1) - alike
    weights = 1 / max(alike, 1), 1 / max(different, 1)

    def terms(distance: Tensor, same: Tensor) -> Tensor:
        loss = contrastive_terms(distance, same, margin=margin, squared=squared)
        return torch.where(same, weights[0] * loss, weights[1] * loss)

    # in single precision at least, also where the codes come in half
    total, _ = _SumOverPairs.apply(z if z.dtype == torch.float64 else z.float(), label, terms)
    return total


class _SumOverPairs(torch.autograd.Function):
    """The sum of terms(d (B, N), same (B, N)) over all ordered pairs of two codes, z (N, D) and label (N,).

    Its slope at z_i is 2 sum_j c_ij (z_i - z_j), c = term'(d) / d, and 0 where d = 0.
    """

    @staticmethod
    def forward(z: Tensor, label: Tensor, terms: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        total, slope = z.new_zeros(()), torch.zeros_like(z)
        centred = z - z.mean(0)
        with torch.autocast(z.device.type, enabled=False):
            for rows in _blocks(torch.arange(len(z), device=z.device), len(z)):
                distance = distances(z[rows], z).requires_grad_()
                with torch.enable_grad():
                    # of one class with itself, and at distance 0: an example's own term is 0
                    part = terms(distance, label[rows][:, None] == label).sum()
                (steepness,) = torch.autograd.grad(part, distance)
                pull = (steepness / distance.detach()).masked_fill_(distance == 0, 0.0)
                slope[rows] = 2 * (pull.sum(1, keepdim=True) * centred[rows] - pull @ centred)
                total += part.detach()
        return total, slope

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None


def triplet_loss(near: Tensor, far: Tensor, *, margin: float) -> Tensor:
    """The mean of [near - far + margin]+ over triplets, (K,) each; 0 for none."""
    return relu(near - far + margin).sum() / max(len(near), 1)


def positive_pairs(label: Tensor) -> tuple[Tensor, Tensor]:
    """All ordered pairs of two examples of one class: (anchor, positive), (K,) int64 each, in order of the anchor."""
    everyone = torch.arange(len(label), device=label.device)
    _, kind, sizes = torch.unique(label, return_inverse=True, return_counts=True)
    by_class, size = kind.argsort(stable=True), sizes[kind]
    anchor = everyone.repeat_interleave(size)
    place = torch.arange(len(anchor), device=label.device) - (size.cumsum(0) - size)[anchor]
    positive = by_class[(sizes.cumsum(0) - sizes)[kind][anchor] + place]
    others = positive != anchor
    return anchor[others], positive[others]


def semi_hard_negatives(z: Tensor, label: Tensor, anchor: Tensor, positive: Tensor) -> Tensor:
    """For each pair (K,) the example of another class nearest to the anchor of those farther than the positive, (K,).

    Where all are nearer than the positive: the farthest of them. One that lies the margin or more beyond the positive
    gives no loss. Distances are those of z's own precision; of equals the first is taken.
    Raises GencoreError for an anchor without an example of another class.
    """

    def choose(distance: Tensor, other: Tensor, near: Tensor) -> Tensor:
        nearest = distance.masked_fill(~other | (distance <= near[:, None]), torch.inf).min(1)
        found, none = nearest.indices, nearest.values == torch.inf
        if none.any():
            found[none] = distance[none].masked_fill(~other[none], -torch.inf).argmax(1)
        return found

    return _negatives(choose, z, label, anchor, positive)


def hard_negatives(z: Tensor, label: Tensor, anchor: Tensor, positive: Tensor) -> Tensor:
    """For each pair (K,) the example of another class nearest to the anchor, (K,). Raises GencoreError for none."""
    return _negatives(lambda d, other, near: d.masked_fill(~other, torch.inf).argmin(1), z, label, anchor, positive)


def random_negatives(z: Tensor, label: Tensor, anchor: Tensor, positive: Tensor) -> Tensor:
    """For each pair (K,) an example of another class, evenly drawn from torch's global stream, (K,). Raises
    GencoreError for none."""

    def choose(distance: Tensor, other: Tensor, near: Tensor) -> Tensor:
        return torch.rand_like(distance).masked_fill(~other, -1.0).argmax(1)

    return _negatives(choose, z, label, anchor, positive)


@torch.no_grad()
def _negatives(
    choose: Callable[[Tensor, Tensor, Tensor], Tensor], z: Tensor, label: Tensor, anchor: Tensor, positive: Tensor
) -> Tensor:
    """choose(distances (B, N), which are of another class (B, N), distance of the positive (B,)), block by block."""
    _check_codes(z, label)
    if len(anchor) and bool((label == label[0]).all()):
        raise GencoreError("All examples are of one class: a triplet needs an example of another. Take more classes.")
    found = []
    for part in _blocks(torch.arange(len(anchor), device=z.device), len(z)):
        rows, once = anchor[part].unique_consecutive(return_inverse=True)
        distance = distances(z[rows], z)[once]
        near = distance.gather(1, positive[part][:, None])[:, 0]  # from the same block, so that equals are equal
        found.append(choose(distance, label[anchor[part]][:, None] != label, near))
    return torch.cat(found) if found else anchor.new_empty(0)


def _blocks(rows: Tensor, columns: int) -> Iterator[Tensor]:
    """`rows` in parts of which each, times `columns`, is at most BLOCK numbers."""
    yield from rows.split(max(1, BLOCK // max(columns, 1))) if len(rows) else ()


def _check_codes(z: Tensor, label: Tensor) -> None:
    if z.ndim != 2 or label.shape != (len(z),) or label.is_floating_point():
        raise GencoreError(
            f"The codes are {tuple(z.shape)} and the labels {tuple(label.shape)} {label.dtype}; expected (N, D) codes "
            "and (N,) integers."
        )
