"""Search by codes: the nearest examples of a gallery, and how often they are of the right kind.

Blocks of queries against the gallery: no matrix of all queries by all of the gallery is held.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.pairwise import BLOCK, distances

Metric = Literal["euclidean", "cosine"]


def nearest(
    queries: Tensor, gallery: Tensor, k: int, *, metric: Metric = "euclidean", exclude_self: bool = False
) -> tuple[Tensor, Tensor]:
    """For queries (Q, D) the k nearest codes of a gallery (M, D), nearest first: positions (Q, k), distances (Q, k).

    Cosine distances are 1 - cos. `exclude_self`: query i is row i of the gallery, and is no answer to itself.
    Raises GencoreError for codes of other dimensions, or a k that the gallery does not have.
    """
    check(metric in ("euclidean", "cosine"), "metric", metric, '"euclidean" or "cosine"')
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1] or not len(queries):
        raise GencoreError(
            f"queries are {tuple(queries.shape)} and the gallery {tuple(gallery.shape)}; expected (Q, D) and (M, D)."
        )
    if exclude_self and len(queries) != len(gallery):
        raise GencoreError(f"exclude_self is for a gallery's own codes: {len(queries)} queries, {len(gallery)} codes.")
    most = len(gallery) - exclude_self
    check(1 <= k <= most, "k", k, f"1 to {most}")
    if metric == "cosine":
        queries, gallery = F.normalize(queries), F.normalize(gallery)
    positions, gaps = [], []
    for rows in torch.arange(len(queries)).split(max(1, BLOCK // len(gallery))):
        gap = distances(queries[rows], gallery)
        if metric == "cosine":
            gap = gap**2 / 2  # of unit vectors: ||a - b||^2 = 2 - 2 cos
        if exclude_self:
            gap[torch.arange(len(rows)), rows] = torch.inf
        found = gap.topk(k, largest=False)
        positions.append(found.indices)
        gaps.append(found.values)
    return torch.cat(positions), torch.cat(gaps)


def recall_at(found: Tensor, wanted: Tensor) -> float:
    """The share of queries with a right answer among those found, (Q, k): `wanted` (Q,) or (Q, k') positions."""
    wanted = wanted.view(len(found), -1)
    return (found[:, :, None] == wanted[:, None]).any(-1).any(-1).float().mean().item()


def same_class_recall(found: Tensor, query_label: Tensor, gallery_label: Tensor) -> float:
    """The share of queries with an example of their own class among those found, (Q, k)."""
    return (gallery_label[found] == query_label[:, None]).any(1).float().mean().item()
