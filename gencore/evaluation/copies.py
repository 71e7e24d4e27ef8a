"""Whether a model repeats its training data: samples beside the examples that they are nearest to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gencore.config import check
from gencore.data.source import Source
from gencore.errors import GencoreError
from gencore.evaluation.retrieval import nearest

ROWS = 4096


class Neighbours(NamedTuple):
    """Positions in the data (N, k) and root mean square distances (N, k), nearest first."""

    place: Tensor
    distance: Tensor


def nearest_examples(samples: Tensor, source: Source, k: int) -> Neighbours:
    """The k examples of a source that are nearest to each of samples (N, *shape), number by number.

    Reads the source part by part. Raises GencoreError for examples of another shape, or a k that the source lacks.
    """
    if tuple(samples.shape[1:]) != tuple(source.shape):
        raise GencoreError(f"{source.name} has examples of {source.shape}; expected {tuple(samples.shape[1:])}.")
    check(1 <= k <= len(source), "k", k, f"1 to {len(source)}")
    queries = samples.flatten(1).float().cpu()
    found, gaps = torch.empty(len(queries), 0, dtype=torch.int64), torch.empty(len(queries), 0)
    for part in torch.arange(len(source)).split(ROWS):
        place, gap = nearest(queries, source.fetch(part)["x"].flatten(1).float(), min(k, len(part)))
        found, gaps = torch.cat([found, part[place]], 1), torch.cat([gaps, gap], 1)
        kept = gaps.topk(min(k, gaps.shape[1]), dim=1, largest=False).indices
        found, gaps = found.gather(1, kept), gaps.gather(1, kept)
    return Neighbours(found, gaps / queries.shape[1] ** 0.5)
