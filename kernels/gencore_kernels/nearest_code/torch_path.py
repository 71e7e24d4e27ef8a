"""Nearest code in plain PyTorch: certified scores, float64 for the rows that the certificate leaves open.

Up to ||x||^2, which is the same for every code, the objective of code k is f_k = ||C_k||^2 - 2 X.C_k + b_k with
X = x - m and C_k = c_k - m for a centre m. One matrix product gives scores s_k with |s_k - f_k| <= E, where E is a
worst-case bound on rounding (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1). When only
one score lies within 2 E of the smallest, its code is the nearest one; otherwise every code within 2 E is compared by
direct differences in float64. So the index is that of float64, whatever the matrix product rounds.

Never N x K: scores live in one buffer of about 1 MB (it stays in the second-level cache; 512 KB is slower).
`torch.amin` runs 10 times faster than `torch.min` with indices, so columns are searched in two levels: the smallest of
each group by amin, then the index inside the best group. Shape suffixes: N rows, K codes (padded), D dimensions,
G groups, W columns of a group, P candidate pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

_SCORES = {"cpu": 1 << 18, "cuda": 1 << 26}
_CODES = 1 << 14
_PANEL = {"cpu": 1 << 18, "cuda": 1 << 26}
_PAIRS = 1 << 16


class CentredCodes(NamedTuple):
    """A codebook made ready for `search`. Its tensors are what travels through torch.library.

    centre [D] and codes [K', D], in the work dtype: codes = (codebook - centre) * scale, zero for codes that cannot be
    selected and for padding; K' is K padded to a multiple of the group width. offsets [K']: ||codes||^2 + bias *
    scale^2, +inf for those. usable [K] bool. limits [3] float64: scale (a power of two), max ||codes||, max ||codes||^2
    + max |bias| * scale^2.
    """

    centre: Tensor
    codes: Tensor
    offsets: Tensor
    usable: Tensor
    limits: Tensor


def work_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 stays; every narrower dtype converts to float32 without loss."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def group_width(num_codes: int) -> int:
    """Columns of a group: 128, less for small codebooks. (64 was 8 % slower at 16384 codes, 32 another 14 %.)"""
    return min(128, max(8, (1 << num_codes.bit_length()) // 8))


def _power_of_two_scale(largest: float, dtype: torch.dtype) -> float:
    """1 for ordinary magnitudes, else the power of two that brings `largest` near 1, so that its square is in range."""
    if largest == 0.0 or 2.0**-40 <= largest <= 2.0**40:
        return 1.0
    limit = 126 if dtype == torch.float32 else 500
    return 2.0 ** min(limit, max(-limit, -math.frexp(largest)[1]))


def _centre(codebook: Tensor, bias: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(mean of the usable codes [D], which codes are usable [K]). Any centre is right; the mean keeps scores small.

    A sum over codes is finite only if all entries are, and it costs 30 times less than looking at each.
    """
    num_codes = len(codebook)
    total = codebook.sum(0, dtype=dtype)
    if bool(total.isfinite().all()) and (bias is None or bool(bias.isfinite().all())):
        return total.div_(num_codes), torch.ones(num_codes, dtype=torch.bool, device=codebook.device)
    rows = max(1, _PAIRS // codebook.shape[1])
    usable = torch.cat([part.isfinite().all(1) for part in codebook.split(rows)])
    if bias is not None:
        usable &= bias.isfinite()
    parts = zip(codebook.split(rows), usable.split(rows), strict=True)
    halves = [torch.where(keep[:, None], part.double(), 0.0).div_(num_codes).sum(0) for part, keep in parts]
    return torch.stack(halves).sum(0).mul_(num_codes / usable.sum().clamp_min(1)).to(dtype), usable


def centre_codes(codebook: Tensor, bias: Tensor | None) -> CentredCodes:
    """codebook [K, D], bias [K] or None -> CentredCodes."""
    dtype = work_dtype(codebook.dtype)
    num_codes, dim = codebook.shape
    width = group_width(num_codes)
    padded = -(-num_codes // width) * width
    centre, usable = _centre(codebook, bias, dtype)
    codes = codebook.new_zeros((padded, dim), dtype=dtype)
    torch.sub(codebook, centre, out=codes[:num_codes])
    excluded = ~usable
    codes[:num_codes].masked_fill_(excluded[:, None], 0.0)
    norms = torch.linalg.vector_norm(codes, dim=1)
    largest = float(norms.max())
    scale = 1.0
    if not 2.0**-40 <= largest <= 2.0**40:  # a norm may have under- or overflowed: look at the entries
        scale = _power_of_two_scale(float(torch.linalg.vector_norm(codes, math.inf)), dtype)
        codes *= scale
        norms = torch.linalg.vector_norm(codes, dim=1)
        largest = float(norms.max())
    offsets = norms.square_()
    largest_shift = 0.0
    if bias is not None:
        shift = bias.double().masked_fill(excluded, 0.0) * scale**2
        offsets[:num_codes] += shift.to(dtype)
        largest_shift = float(shift.abs().max())
    offsets[num_codes:] = math.inf
    offsets[:num_codes].masked_fill_(excluded, math.inf)
    limits = torch.tensor([scale, largest, largest * largest + largest_shift], dtype=torch.float64)
    return CentredCodes(centre, codes, offsets, usable, limits)


def error_bound(norm_N: Tensor, limits: tuple[float, float, float], dim: int) -> Tensor:
    """E of the module's docstring for rows with ||X|| = norm_N (scaled): [N] in norm_N's dtype.

    Rounding of a sum of D products in any order: (D + 2) u (|offset| + 2 ||X|| ||C||); of the centring, relative, on
    both factors: 4 u ||X|| ||C||; of the offset, a square root and a sum of squares: (D + 4) u |offset|. What stands
    below is 1.4 times the sum of these or more, which covers second-order terms and the rounding of the norms and the
    bound. The last term is the rounding of float64 distances themselves, (D + 3) u64 (||X|| + ||C||)^2: codes that only
    differ below it are compared as the reference does.
    """
    _, largest_norm, largest_offset = limits
    unit = 0.5 * torch.finfo(norm_N.dtype).eps
    factor = 4.0 * (dim + 4) * unit
    rounding = (dim + 4) * torch.finfo(torch.float64).eps
    rounded_N = (norm_N + largest_norm).square_().add_(largest_offset).mul_(rounding)
    return rounded_N.add_(norm_N, alpha=largest_norm * factor).add_(largest_offset * factor)


class _Workspace(NamedTuple):
    """Memory that every panel of rows uses again: at most 6 MB on the CPU."""

    scores: Tensor  # flat, about 1 MB
    smallest: Tensor  # [N, G]
    winners: Tensor  # [N, W]
    hits: Tensor  # [N, W]
    rows: Tensor  # [N, D]

    @classmethod
    def like(cls, codes_KD: Tensor, num_rows: int, width: int) -> _Workspace:
        num_codes, dim = codes_KD.shape
        device = "cuda" if codes_KD.is_cuda else "cpu"
        num_scores = _SCORES[device]
        groups = min(num_codes, _CODES) // width
        panel = max(1, min(num_rows, _PANEL[device] // max(dim, width, groups)))
        return cls(
            codes_KD.new_empty(max(min(num_codes, _CODES), min(num_rows * num_codes, num_scores))),
            *(codes_KD.new_empty((panel, columns)) for columns in (groups, width, width, dim)),
        )


def _two_levels(
    centred_ND: Tensor, codes_KD: Tensor, offsets_K: Tensor, work: _Workspace
) -> tuple[Tensor, Tensor, Tensor]:
    """The smallest score of each row, its index, and the second smallest score: [N] each.

    The index of a tied row is any number below K; its second score equals the first.
    """
    num_rows, num_codes, width = len(centred_ND), len(codes_KD), work.winners.shape[1]
    num_groups, step = num_codes // width, max(1, len(work.scores) // num_codes)
    smallest_NG = work.smallest.view(-1)[: num_rows * num_groups].view(num_rows, num_groups)
    winners_NW = work.winners[:num_rows]
    best_N = winners_NW.new_empty(num_rows)
    group_N = torch.empty(num_rows, dtype=torch.int64, device=winners_NW.device)
    first_group = torch.arange(step, device=winners_NW.device) * num_groups
    codes_DK = codes_KD.t()
    rows = (tensor.split(step) for tensor in (centred_ND, smallest_NG, winners_NW, best_N, group_N))
    for centred, smallest, winners, best, group in zip(*rows, strict=True):
        count = len(centred)
        score = work.scores[: count * num_codes].view(count, num_codes)
        torch.addmm(offsets_K, centred, codes_DK, alpha=-2, out=score)
        torch.amin(score.view(count, num_groups, width), -1, out=smallest)
        torch.min(smallest, 1, out=(best, group))
        torch.index_select(score.view(-1, width), 0, group + first_group[:count], out=winners)
    column_N, second_N = _column_and_second(winners_NW, best_N, work.hits[:num_rows])
    smallest_NG.scatter_(1, group_N[:, None], math.inf)
    return best_N, group_N * width + column_N, torch.minimum(smallest_NG.amin(1), second_N)


def _column_and_second(winners_NW: Tensor, best_N: Tensor, hits_NW: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row of winners_NW equals best_N, and its second smallest entry. Overwrites winners_NW and hits_NW.

    Hits as floats, their product with the column numbers, and a large number added to the winner: argmin and boolean
    masks are 9 times slower. Every hit adds W to the product, so that it shows a tie.
    """
    width = winners_NW.shape[1]
    torch.eq(winners_NW, best_N[:, None], out=hits_NW)
    place_N = hits_NW @ torch.arange(width, 2 * width, dtype=hits_NW.dtype, device=hits_NW.device)
    second_N = winners_NW.add_(hits_NW, alpha=torch.finfo(hits_NW.dtype).max / 4).amin(1)
    column_N = place_N.long().sub_(width).clamp_(0, width - 1)
    return column_N, torch.where(place_N < 2 * width, second_N, best_N)


def _best_two(centred_ND: Tensor, prepared: CentredCodes, work: _Workspace) -> tuple[Tensor, Tensor, Tensor]:
    """`_two_levels` over the whole codebook, a block of codes at a time so that a block of rows shares each."""
    blocks = zip(prepared.codes.split(_CODES), prepared.offsets.split(_CODES), strict=True)
    best, index, second = _two_levels(centred_ND, *next(blocks), work)
    for block, (codes, offsets) in enumerate(blocks, start=1):
        score, found, runner_up = _two_levels(centred_ND, codes, offsets, work)
        second = torch.minimum(torch.minimum(second, runner_up), torch.maximum(best, score))
        index = torch.where(score < best, found + block * _CODES, index)
        best = torch.minimum(best, score)
    return best, index, second


def _direct_distances(x_ND: Tensor, codebook: Tensor, row_P: Tensor, code_P: Tensor) -> Tensor:
    """||x[row] - codebook[code]||^2 in float64, [P]."""
    size = max(1, _PAIRS // x_ND.shape[1])
    return torch.cat(
        [
            (x_ND[row].double() - codebook[code].double()).square().sum(1)
            for row, code in zip(row_P.split(size), code_P.split(size), strict=True)
        ]
    )


def _resolve(x_ND: Tensor, codebook: Tensor, bias: Tensor | None, candidate_NK: Tensor) -> Tensor:
    """The best of each row's candidates in float64, the lowest index on ties; -1 for a row without any. [N]"""
    num_rows, num_codes = candidate_NK.shape
    row_P, code_P = candidate_NK.nonzero(as_tuple=True)
    if not len(row_P):
        return torch.full((num_rows,), -1, device=x_ND.device)
    objective_P = _direct_distances(x_ND, codebook, row_P, code_P)
    if bias is not None:
        objective_P += bias.double()[code_P]
    best_N = objective_P.new_full((num_rows,), math.inf).scatter_reduce_(0, row_P, objective_P, "amin")
    tied_P = objective_P == best_N[row_P]
    index_N = torch.full((num_rows,), num_codes, device=x_ND.device)
    index_N.scatter_reduce_(0, row_P[tied_P], code_P[tied_P], "amin")
    return torch.where(index_N == num_codes, -1, index_N)


def _settle(
    x_ND: Tensor, codebook: Tensor, bias: Tensor | None, prepared: CentredCodes, centred_ND: Tensor, threshold_N: Tensor
) -> Tensor:
    """The index of rows that the scores leave open: [N], -1 where nothing is defined.

    A score computed again may round otherwise, but it stays within E of the objective, so the threshold still holds.
    """
    size = max(1, _PAIRS // codebook.shape[0])
    settled = []
    for x, centred, threshold in zip(x_ND.split(size), centred_ND.split(size), threshold_N.split(size), strict=True):
        scores = torch.addmm(prepared.offsets, centred, prepared.codes.t(), alpha=-2)[:, : codebook.shape[0]]
        limit = threshold[:, None]
        candidate = ((scores <= limit) | ~limit.isfinite()) & prepared.usable & x.isfinite().all(1, keepdim=True)
        settled.append(_resolve(x, codebook, bias, candidate))
    return torch.cat(settled)


@contextmanager
def _full_float32(on_cuda: bool) -> Iterator[None]:
    """Keeps float32 products from being done in tf32 or bfloat16, whatever the process has allowed for its networks."""
    setting: Any = torch.backends.cuda.matmul if on_cuda else getattr(torch.backends.mkldnn, "matmul", None)
    if hasattr(setting, "fp32_precision"):  # torch 2.9 and later
        allowed = setting.fp32_precision
        if allowed not in ("tf32", "bf16"):
            yield
            return
        setting.fp32_precision = "ieee"
        try:
            yield
        finally:
            setting.fp32_precision = allowed
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _search(
    x: Tensor, codebook: Tensor, bias: Tensor | None, prepared: CentredCodes, certified: bool
) -> tuple[Tensor, Tensor]:
    dtype, (num_rows, dim) = prepared.codes.dtype, x.shape
    scale, *_ = limits = tuple(prepared.limits.tolist())
    index = torch.empty(num_rows, dtype=torch.int64, device=x.device)
    distance = torch.empty(num_rows, dtype=dtype, device=x.device)
    if not num_rows:
        return index, distance
    work = _Workspace.like(prepared.codes, num_rows, group_width(len(codebook)))
    panel = len(work.rows)
    for part, index_part, distance_part in zip(x.split(panel), index.split(panel), distance.split(panel), strict=True):
        centred = torch.sub(part, prepared.centre, out=work.rows[: len(part)])
        if scale != 1.0:
            centred *= scale
        threshold, found, second = _best_two(centred, prepared, work)
        if certified:
            threshold += 2.0 * error_bound(torch.linalg.vector_norm(centred, dim=1), limits, dim)
        where = (~(second > threshold)).nonzero()[:, 0]
        if len(where):
            found[where] = _settle(part[where], codebook, bias, prepared, centred[where], threshold[where])
        torch.clamp_min(found, 0, out=index_part)
        nearest = work.rows[: len(part)].copy_(codebook.index_select(0, index_part))
        torch.sum(nearest.sub_(part).square_(), 1, out=distance_part)
        if len(where):
            distance_part.masked_fill_(found < 0, math.nan)
    return index, distance


def search(
    x: Tensor, codebook: Tensor, bias: Tensor | None, prepared: CentredCodes, *, certified: bool = True
) -> tuple[Tensor, Tensor]:
    """x [N, D], codebook [K, D], bias [K] or None -> (index int64 [N], distance in the work dtype [N]).

    certified=False keeps the index of the smallest score, which rounding may have moved to another code nearly as near.
    """
    with _full_float32(x.is_cuda):
        return _search(x, codebook, bias, prepared, certified)
