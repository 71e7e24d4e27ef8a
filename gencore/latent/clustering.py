"""Clusters of codes, and how well they agree with classes. Needs the extra `eval` (scikit-learn)."""

from __future__ import annotations

import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError
from gencore.latent.extras import from_eval
from gencore.latent.walks import check_codes


def k_means(z: Tensor, count: int, *, seed: int = 0, restarts: int = 10) -> tuple[Tensor, Tensor]:
    """scikit-learn's k-means of (N, D), the best of `restarts`: clusters (N,) int64 and centres (count, D) float32.

    Raises GencoreError for more clusters than different codes.
    """
    check_codes(z)
    different = len(z.unique(dim=0))
    check(1 <= count <= different, "count", count, f"1 to {different}, the number of different codes")
    cluster = from_eval("sklearn.cluster", "scikit-learn")
    fitted = cluster.KMeans(count, n_init=restarts, random_state=seed).fit(z.float().numpy())
    return torch.from_numpy(fitted.labels_).long(), torch.from_numpy(fitted.cluster_centers_).float()


def cluster_accuracy(clusters: Tensor, label: Tensor) -> float:
    """The share of examples in their class' cluster, under the best one-to-one match (Hungarian method)."""
    _check_pair(clusters, label)
    optimize = from_eval("scipy.optimize", "scikit-learn")
    _, rows = clusters.unique(return_inverse=True)
    _, columns = label.unique(return_inverse=True)
    counts = torch.zeros(int(rows.max()) + 1, int(columns.max()) + 1, dtype=torch.int64)
    counts.index_put_((rows, columns), torch.ones_like(rows), accumulate=True)
    matched = optimize.linear_sum_assignment(counts.numpy(), maximize=True)
    return counts[matched[0], matched[1]].sum().item() / len(label)


def normalised_mutual_information(clusters: Tensor, label: Tensor) -> float:
    """I(clusters; label) over the mean of the two entropies, in [0, 1] (scikit-learn's)."""
    _check_pair(clusters, label)
    metrics = from_eval("sklearn.metrics", "scikit-learn")
    return float(metrics.normalized_mutual_info_score(label.numpy(), clusters.numpy()))


def _check_pair(clusters: Tensor, label: Tensor) -> None:
    if clusters.ndim != 1 or clusters.shape != label.shape or not len(label):
        raise GencoreError(
            f"clusters are {tuple(clusters.shape)} and labels {tuple(label.shape)}; expected (N,) both, N >= 1."
        )
