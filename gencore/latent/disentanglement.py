"""How far single numbers of a code stand for single factors. z (N, D) float, factors (N, K) int64.

Both measures ask for an oracle and a rotated oracle beside every figure, and for several seeds: random seeds matter
more than objectives (Locatello et al. 2019, arXiv:1811.12359).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError
from gencore.latent.walks import check_codes


def mutual_information_gap(z: Tensor, factors: Tensor, *, bins: int = 20) -> float:
    """MIG (Chen et al. 2018, arXiv:1802.04942, equation 6): mean_k (I(z_(1); v_k) - I(z_(2); v_k)) / H(v_k).

    z_(1) and z_(2) are the two numbers of the code that know most of factor k; each number is cut into `bins` equal
    intervals of its range. In [0, 1]; 1 for a code that gives each factor one number of its own.
    """
    _check(z, factors)
    check(bins >= 2, "bins", bins, "at least 2")
    check(z.shape[1] >= 2, "the codes' dimension", z.shape[1], "at least 2")
    cut = torch.stack([_cut(column, bins) for column in z.unbind(1)], 1)
    gaps = []
    for factor in factors.unbind(1):
        information = torch.stack([mutual_information(column, factor) for column in cut.unbind(1)])
        first, second = information.topk(2).values
        gaps.append((first - second) / mutual_information(factor, factor))
    return torch.stack(gaps).mean().item()


def factor_vae_score(z: Tensor, factors: Tensor, *, votes: int = 800, size: int = 64, seed: int = 0) -> float:
    """FactorVAE's measure (Kim & Mnih 2018, arXiv:1802.05983, section 4): the accuracy of a majority vote.

    A vote: fix one factor, draw `size` examples that agree in it, and name the number of the code that varies least,
    over its variance on all data. A table from that number to the factor is fitted to one half of the votes and
    judged on the other. Numbers of the code without variance never vote.
    """
    _check(z, factors)
    check(votes >= 2 and size >= 2, "votes, size", (votes, size), "at least 2 each")
    generator = torch.Generator().manual_seed(seed)
    variance = z.double().var(0)
    alive = variance > 1e-12
    if not alive.any():
        raise GencoreError("No number of the code varies: the code has collapsed.")
    scaled = z.double()[:, alive] / variance[alive].sqrt()
    table = torch.zeros(2, scaled.shape[1], factors.shape[1], dtype=torch.int64)
    for vote in range(votes):
        factor = int(torch.randint(factors.shape[1], (), generator=generator))
        anchor = int(torch.randint(len(factors), (), generator=generator))
        same = (factors[:, factor] == factors[anchor, factor]).nonzero()[:, 0]
        rows = same[torch.randint(len(same), (size,), generator=generator)]
        table[vote % 2, scaled[rows].var(0).argmin(), factor] += 1
    chosen = table[0].argmax(1)
    right = table[1].gather(1, chosen[:, None]).sum()
    return (right / table[1].sum()).item()


def mutual_information(a: Tensor, b: Tensor) -> Tensor:
    """I(a; b) in nats of two (N,) integer tensors, from their joint frequencies; I(a; a) is the entropy."""
    _, rows = a.unique(return_inverse=True)
    _, columns = b.unique(return_inverse=True)
    joint = torch.zeros(int(rows.max()) + 1, int(columns.max()) + 1, dtype=torch.float64)
    joint.index_put_((rows, columns), torch.ones(len(a), dtype=torch.float64), accumulate=True)
    joint /= len(a)
    independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return torch.where(joint > 0, joint * (joint.clamp_min(1e-300) / independent).log(), 0.0).sum()


def _cut(column: Tensor, bins: int) -> Tensor:
    """The interval, 0 ... bins - 1, of each number."""
    low, high = column.min(), column.max()
    return ((column - low) / (high - low).clamp_min(1e-12) * bins).long().clamp_max(bins - 1)


def _check(z: Tensor, factors: Tensor) -> None:
    check_codes(z)
    if factors.ndim != 2 or len(factors) != len(z) or factors.is_floating_point():
        raise GencoreError(f"factors are {tuple(factors.shape)} {factors.dtype}; expected ({len(z)}, K) integers.")
    constant = [k for k, factor in enumerate(factors.unbind(1)) if len(factor.unique()) < 2]
    if constant:
        raise GencoreError(f"Factors {constant} have one value only; expected at least two of each.")
