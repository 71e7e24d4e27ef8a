"""Active learning: which examples to label next. Each function returns `count` different positions, (count,) int64.

Random and cluster choices need no labels; the margin needs a classifier that has seen some.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError
from gencore.latent.clustering import k_means
from gencore.latent.walks import check_codes


def select_random(total: int, count: int, *, seed: int = 0) -> Tensor:
    """Positions in 0 ... total - 1, evenly drawn."""
    check(1 <= count <= total, "count", count, f"1 to {total}")
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count]


def select_by_margin(logits: Tensor, count: int) -> Tensor:
    """Where the two likeliest classes are closest, p1 - p2 (Settles 2009). logits (N, C), C >= 2; closest first."""
    if logits.ndim != 2 or logits.shape[1] < 2 or not logits.isfinite().all():
        raise GencoreError(f"logits are {tuple(logits.shape)}; expected (N, C), finite, with two classes or more.")
    check(1 <= count <= len(logits), "count", count, f"1 to {len(logits)}")
    first, second = logits.softmax(1).topk(2).values.unbind(1)
    return (first - second).argsort(stable=True)[:count]


def select_k_centre(z: Tensor, count: int, *, chosen: Tensor | None = None) -> Tensor:
    """Greedy k-centre (Gonzalez 1985; Sener & Savarese 2018, arXiv:1708.00489): again and again the code farthest
    from all that are chosen, at most twice as far in the end as the best choice.

    Codes (N, D). `chosen`: positions labelled already; without any, the code nearest the mean begins. Holds no N x N.
    """
    check_codes(z)
    taken = torch.empty(0, dtype=torch.int64) if chosen is None else chosen
    check(1 <= count <= len(z) - len(taken.unique()), "count", count, f"1 to {len(z) - len(taken.unique())}")
    if len(taken):
        distance = torch.cdist(z, z[taken]).min(1).values
        picked: list[int] = []
    else:
        picked = [int(torch.linalg.vector_norm(z - z.mean(0), dim=1).argmin())]
        distance = torch.linalg.vector_norm(z - z[picked[0]], dim=1)
    distance[taken] = -1
    distance[picked] = -1
    while len(picked) < count:
        farthest = int(distance.argmax())
        distance = torch.minimum(distance, torch.linalg.vector_norm(z - z[farthest], dim=1))
        distance[farthest] = -1
        picked.append(farthest)
    return torch.tensor(picked[:count])


def select_cluster_centres(z: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """The code nearest to each of `count` k-means centres, each taken once. Needs the extra `eval`."""
    _, centres = k_means(z, count, seed=seed, restarts=3)
    distance = torch.cdist(centres, z.float())
    picked = []
    for row in distance:
        nearest = int(row.argmin())
        picked.append(nearest)
        distance[:, nearest] = torch.inf
    return torch.tensor(picked)
