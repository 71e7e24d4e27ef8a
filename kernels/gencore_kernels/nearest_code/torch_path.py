"""Nearest code in plain PyTorch: certified scores, float64 for the rows that the certificate leaves open.

Up to ||x||^2, which is the same for every code, the objective of code k is f_k = ||C_k||^2 - 2 X.C_k + b_k with
X = x - m and C_k = c_k - m for a centre m. One matrix product gives scores s_k with |s_k - f_k| <= E, where E is a
worst-case bound on rounding (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1). When only
one score lies within 2 E of the smallest, its code is the nearest one; otherwise every code within 2 E is compared by
direct differences in float64. So the index is that of float64, whatever the matrix product rounds.

Never N x K: scores are made 1 MB at a time, which stays in the cache (512 KB is slower), but for 128 rows at least, up
to 4 MB: products with 64 take up to a sixth longer.
`torch.amin` runs 10 times faster than `torch.min` with indices, so columns are searched in two levels: the smallest of
each group by amin, then the index inside the best group. Shape suffixes: N rows, K codes (padded), D dimensions,
G groups, W columns of a group, P candidate pairs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

_SCORES = {"cpu": 1 << 18, "cuda": 1 << 26}
_ROWS = 128
_CODES = 1 << 13
_PANEL = {"cpu": 1 << 18, "cuda": 1 << 26}
_PAIRS = 1 << 16
_CROWD = 16  # candidates a row from which copies of a code are looked for


class CentredCodes(NamedTuple):
    """A codebook made ready for `search`. Its tensors are what travels through torch.library.

    centre [D] and weights [K', D], in the work dtype: weights = -2 C with C = (codebook - centre) * scale, zero for
    codes that cannot be selected and for padding; K' is K padded to a multiple of the group width. offsets [K']:
    ||C||^2 + bias * scale^2, +inf for those. usable [K] bool. limits [3] float64: scale (a power of two), max ||C||,
    max ||C||^2 + max |bias| * scale^2.
    """

    centre: Tensor
    weights: Tensor
    offsets: Tensor
    usable: Tensor
    limits: Tensor


def work_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 stays; every narrower dtype converts to float32 without loss."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def group_width(num_codes: int) -> int:
    """Columns of a group. (At 64 codes 16 and 64 take a fifth longer than 32, at 16384 codes 64 takes 8 % longer.)"""
    if num_codes < 256:
        return 32
    return 64 if num_codes <= 4096 else 128


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
    limits = torch.tensor([scale, largest, largest * largest + largest_shift], dtype=torch.float64, device="cpu")
    return CentredCodes(centre, codes.mul_(-2.0), offsets, usable, limits)


def linear(rows_ND: Tensor, weights_KD: Tensor, offsets_K: Tensor, out_NK: Tensor | None = None) -> Tensor:
    """rows @ weights^T + offsets: [N, K]; in `out`, where oneDNN does not make it."""
    if _by_onednn(weights_KD):
        return torch.ops.mkldnn._linear_pointwise(rows_ND, weights_KD, offsets_K, "none", [], "")
    return torch.addmm(offsets_K, rows_ND, weights_KD.t(), out=out_NK)


def _by_onednn(weights: Tensor) -> bool:
    return weights.dtype == torch.float32 and weights.device.type == "cpu" and _has_onednn()


@functools.cache
def _has_onednn() -> bool:
    """Whether oneDNN's product and AVX-512 are there: then it takes half the time of addmm, whose MKL keeps to AVX2 on
    AMD. It is the operation that torch.compile emits for a linear layer; its public forms return opaque tensors."""
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


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


def margin_of(norm_N: Tensor, limits: tuple[float, float, float], dim: int, certified: bool) -> Tensor:
    """By how much a second score must exceed the smallest: [N]. Never finite for a row that is not, which leaves
    it open."""
    return 2.0 * error_bound(norm_N, limits, dim) if certified else 0.0 * norm_N


class _Workspace(NamedTuple):
    """Memory that every panel of rows uses again: at most 3 MB on the CPU, and the scores."""

    scores: Tensor | None  # [rows of a product, K]
    smallest: Tensor  # [N, G]
    winners: Tensor  # [N, W]
    rows: Tensor  # [N, D]

    @classmethod
    def like(cls, codes_KD: Tensor, num_rows: int, width: int) -> _Workspace:
        num_codes, dim = min(len(codes_KD), _CODES), codes_KD.shape[1]
        groups = num_codes // width
        panel = max(1, min(num_rows, _PANEL[codes_KD.device.type] // max(dim, width, groups)))
        scores = None
        if not _by_onednn(codes_KD):  # oneDNN takes none: new ones for each product cost up to a tenth
            scores = codes_KD.new_empty(min(panel, _rows_of_a_product(codes_KD.device, num_codes)), num_codes)
        return cls(scores, *(codes_KD.new_empty((panel, columns)) for columns in (groups, width, dim)))


def _rows_of_a_product(device: torch.device, num_codes: int) -> int:
    return max(_ROWS, _SCORES[device.type] // num_codes)


def _two_levels(
    centred_ND: Tensor, weights_KD: Tensor, offsets_K: Tensor, margin_N: Tensor, work: _Workspace
) -> tuple[Tensor, Tensor, Tensor]:
    """The smallest score of each row, its index, and a rival: [N] each.

    The rival is the smallest score of the other groups, or the row's own smallest score where another one of its group
    is not above it by more than the margin; the index is then any number below K.
    """
    num_rows, num_codes, width = len(centred_ND), len(weights_KD), work.winners.shape[1]
    num_groups, step = num_codes // width, _rows_of_a_product(weights_KD.device, num_codes)
    smallest_NG = work.smallest.view(-1)[: num_rows * num_groups].view(num_rows, num_groups)
    winners_NW = work.winners[:num_rows]
    best_N = winners_NW.new_empty(num_rows)
    group_N = torch.empty(num_rows, dtype=torch.int64, device=winners_NW.device)
    first_group = torch.arange(step, device=winners_NW.device) * num_groups
    rows = (tensor.split(step) for tensor in (centred_ND, smallest_NG, winners_NW, best_N, group_N))
    for centred, smallest, winners, best, group in zip(*rows, strict=True):
        out = None if work.scores is None else work.scores.view(-1)[: len(centred) * num_codes].view(-1, num_codes)
        score = linear(centred, weights_KD, offsets_K, out).view(len(centred), num_groups, width)
        torch.amin(score, -1, out=smallest)
        torch.min(smallest, 1, out=(best, group))
        torch.index_select(score.view(-1, width), 0, group + first_group[: len(centred)], out=winners)
        del score  # before the next one is made
    # Hits as floats and their product with the column numbers: argmin and boolean masks are 9 times slower. Every hit
    # adds W, so that the product tells one from several.
    hits_NW = torch.le(winners_NW, (best_N + margin_N)[:, None], out=winners_NW)
    place_N = hits_NW @ torch.arange(width, 2 * width, dtype=hits_NW.dtype, device=hits_NW.device)
    column_N = place_N.long().sub_(width).clamp_(0, width - 1)
    rival_N = smallest_NG.scatter_(1, group_N[:, None], math.inf).amin(1)
    return best_N, group_N * width + column_N, torch.where(place_N < 2 * width, rival_N, best_N)


def _best_two(
    centred_ND: Tensor, prepared: CentredCodes, margin_N: Tensor, work: _Workspace
) -> tuple[Tensor, Tensor, Tensor]:
    """`_two_levels` over the whole codebook, a block of codes at a time so that a block of rows shares each."""
    blocks = zip(prepared.weights.split(_CODES), prepared.offsets.split(_CODES), strict=True)
    best, index, rival = _two_levels(centred_ND, *next(blocks), margin_N, work)
    for block, (weights, offsets) in enumerate(blocks, start=1):
        score, found, other = _two_levels(centred_ND, weights, offsets, margin_N, work)
        rival = torch.minimum(torch.minimum(rival, other), torch.maximum(best, score))
        index = torch.where(score < best, found + block * _CODES, index)
        best = torch.minimum(best, score)
    return best, index, rival


def _direct_distances(x_ND: Tensor, codebook: Tensor, row_P: Tensor, code_P: Tensor) -> Tensor:
    """||x[row] - codebook[code]||^2 in float64, [P]."""
    size = max(1, _PAIRS // x_ND.shape[1])
    pairs = zip(row_P.split(size), code_P.split(size), strict=True)
    return torch.cat([(x_ND[row].double() - codebook[code].double()).square_().sum(1) for row, code in pairs])


def nearest_candidate(
    x_ND: Tensor, codebook: Tensor, bias: Tensor | None, rows_R: Tensor, row_P: Tensor, code_P: Tensor
) -> Tensor:
    """The nearest to x[rows] among pairs of a place in `rows` and a code, the lowest on ties; -1 where none is. [R]"""
    objective_P = _direct_distances(x_ND, codebook, rows_R[row_P], code_P)
    if bias is not None:
        objective_P += bias.double()[code_P]
    best_R = objective_P.new_full(rows_R.shape, math.inf).scatter_reduce_(0, row_P, objective_P, "amin")
    tied_P = objective_P == best_R[row_P]
    index_R = torch.full_like(rows_R, len(codebook))
    index_R.scatter_reduce_(0, row_P[tied_P], code_P[tied_P], "amin")
    return index_R.masked_fill_(index_R == len(codebook), -1)


def _candidates(centred_ND: Tensor, prepared: CentredCodes, limit_N: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """(row_P, code_P) of all usable codes whose score is not above the row's limit, by groups first.

    A score computed again may round otherwise, but it stays within E of the objective, so the limit still holds.
    """
    groups = len(prepared.weights) // width
    scores = linear(centred_ND, prepared.weights, prepared.offsets).view(-1, groups, width)
    row_Q, group_Q = (~(scores.amin(2) > limit_N[:, None])).nonzero(as_tuple=True)
    members_QW = scores.view(-1, width).index_select(0, row_Q * groups + group_Q)
    place_P, column_P = (~(members_QW > limit_N[row_Q, None])).nonzero(as_tuple=True)
    row_P, code_P = row_Q[place_P], group_Q[place_P] * width + column_P
    kept_P = code_P < len(prepared.usable)
    kept_P &= prepared.usable[code_P.clamp_max(len(prepared.usable) - 1)]
    return row_P[kept_P], code_P[kept_P]


def _first_copies(codebook: Tensor, prepared: CentredCodes) -> CentredCodes:
    """`prepared` without the codes that repeat an earlier one: at equal distance the lowest index is the answer."""
    place = prepared.usable.nonzero()[:, 0]
    distinct, copy_of = codebook[place].to(prepared.weights.dtype).unique(dim=0, return_inverse=True)
    first = torch.full((len(distinct),), len(codebook), device=place.device)
    first.scatter_reduce_(0, copy_of, place, "amin")
    usable = torch.zeros_like(prepared.usable).index_fill_(0, first, True)
    offsets = prepared.offsets.clone()
    offsets[: len(usable)].masked_fill_(~usable, math.inf)
    return prepared._replace(offsets=offsets, usable=usable)


def settle(
    x_ND: Tensor, codebook: Tensor, bias: Tensor | None, prepared: CentredCodes, rows_R: Tensor, threshold_N: Tensor
) -> Tensor:
    """The index of rows that the scores leave open: [R], -1 where nothing is defined."""
    width, scale = group_width(len(codebook)), float(prepared.limits[0])
    index_R = torch.full_like(rows_R, -1)
    size, crowded = max(1, _PAIRS // len(prepared.weights)), False
    for rows, index in zip(rows_R.split(size), index_R.split(size), strict=True):
        finite = x_ND[rows].isfinite().all(1)
        rows = rows[finite]
        part, limit = x_ND[rows], threshold_N[rows]
        limit.masked_fill_(~limit.isfinite(), math.inf)
        centred = centre_rows(part, prepared.centre, scale, torch.empty_like(part, dtype=prepared.centre.dtype))
        row_P, code_P = _candidates(centred, prepared, limit, width)
        if bias is None and not crowded and len(row_P) > _CROWD * len(rows):
            crowded, prepared = True, _first_copies(codebook, prepared)
        index[finite] = nearest_candidate(x_ND, codebook, bias, rows, row_P, code_P)
    return index_R


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
    dtype, (num_rows, dim) = prepared.weights.dtype, x.shape
    scale, *_ = limits = tuple(prepared.limits.tolist())
    index = torch.empty(num_rows, dtype=torch.int64, device=x.device)
    distance = torch.empty(num_rows, dtype=dtype, device=x.device)
    if not num_rows:
        return index, distance
    work = _Workspace.like(prepared.weights, num_rows, group_width(len(codebook)))
    panel = len(work.rows)
    threshold, rival = (torch.empty_like(distance) for _ in range(2))
    parts = (tensor.split(panel) for tensor in (x, index, distance, threshold, rival))
    for part, index_part, distance_part, threshold_part, rival_part in zip(*parts, strict=True):
        centred = centre_rows(part, prepared.centre, scale, work.rows[: len(part)])
        margin = margin_of(torch.linalg.vector_norm(centred, dim=1), limits, dim, certified)
        best, found, rival_part[:] = _best_two(centred, prepared, margin, work)
        torch.add(best, margin, out=threshold_part)
        torch.clamp_max(found, len(codebook) - 1, out=index_part)
        distance_part[:] = _distances(part, codebook, index_part, work.rows[: len(part)])
    left_open = (~(rival > threshold)).nonzero()[:, 0]
    for where in left_open.split(panel) if len(left_open) else ():
        found = settle(x, codebook, bias, prepared, where, threshold)
        index[where] = found.clamp_min(0)
        near = _distances(x[where], codebook, index[where], work.rows[: len(where)])
        distance[where] = near.masked_fill_(found < 0, math.nan)
    return index, distance


def centre_rows(x_ND: Tensor, centre_D: Tensor, scale: float, memory_ND: Tensor) -> Tensor:
    torch.sub(x_ND, centre_D, out=memory_ND)
    return memory_ND if scale == 1.0 else memory_ND.mul_(scale)


def _distances(x_ND: Tensor, codebook: Tensor, index_N: Tensor, memory_ND: Tensor) -> Tensor:
    """||x - codebook[index]||^2, [N]."""
    if codebook.dtype == memory_ND.dtype:
        torch.index_select(codebook, 0, index_N, out=memory_ND)
    else:
        memory_ND.copy_(codebook.index_select(0, index_N))
    return memory_ND.sub_(x_ND).square_().sum(1)


def search(
    x: Tensor, codebook: Tensor, bias: Tensor | None, prepared: CentredCodes, *, certified: bool = True
) -> tuple[Tensor, Tensor]:
    """x [N, D], codebook [K, D], bias [K] or None -> (index int64 [N], distance in the work dtype [N]).

    certified=False keeps the index of the smallest score, which rounding may have moved to another code nearly as near.
    """
    with _full_float32(x.is_cuda):
        return _search(x, codebook, bias, prepared, certified)
