"""The formula of the nearest code, in float64: the oracle of every test.

index_n = argmin_k ||x_n - c_k||^2 + b_k, the lowest k on ties (vector quantisation: Linde, Buzo, Gray, "An Algorithm
for Vector Quantizer Design", 1980; van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning",
2017, arXiv:1711.00937, equation 1). Shapes: x [H, N, D], codebook [H, K, D], bias [H, K].
"""

from __future__ import annotations

import torch
from torch import Tensor

_ELEMENTS = 1 << 22


def squared_distances(x: Tensor, codebook: Tensor) -> Tensor:
    """||x_n - c_k||^2 by direct differences in float64: [H, N, D], [H, K, D] -> [H, N, K]."""
    return (x.double()[:, :, None, :] - codebook.double()[:, None, :, :]).square().sum(-1)


def nearest(x: Tensor, codebook: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """(index int64 [H, N], distance float64 [H, N]); a row without any defined distance has index 0, distance NaN."""
    usable = usable_codes(codebook, bias)[:, None, :]
    offset = torch.zeros_like(usable, dtype=torch.float64) if bias is None else bias.double()[:, None, :]
    indices, distances = [], []
    for rows in x.split(max(1, _ELEMENTS // max(1, codebook.numel())), dim=1):
        distance = squared_distances(rows, codebook)
        objective = torch.where(usable, distance + offset, torch.inf)
        index = objective.argmin(-1)  # the first of equals, as torch documents
        defined = rows.isfinite().all(-1) & usable.any(-1)
        indices.append(torch.where(defined, index, 0))
        distances.append(torch.where(defined, distance.gather(-1, index[..., None])[..., 0], torch.nan))
    return torch.cat(indices, 1), torch.cat(distances, 1)


def usable_codes(codebook: Tensor, bias: Tensor | None) -> Tensor:
    """Which codes may be selected: all entries, and the bias, finite. [H, K] bool."""
    usable = codebook.isfinite().all(-1)
    return usable if bias is None else usable & bias.isfinite()


def statistics(x: Tensor, index: Tensor, defined: Tensor, num_codes: int) -> tuple[Tensor, Tensor]:
    """Rows per code, int64 [H, K], and their sum, float64 [H, K, D]; rows that are not `defined` are left out."""
    one_hot = torch.nn.functional.one_hot(index, num_codes) * defined[..., None]
    return one_hot.sum(1), one_hot.double().transpose(1, 2) @ torch.where(defined[..., None], x.double(), 0.0)
