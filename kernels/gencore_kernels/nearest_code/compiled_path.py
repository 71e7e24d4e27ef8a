"""Nearest code on the CPU in C++ (search.cpp): torch_path's scores and certificate, with a product of its own whose
scores are never written to memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencore_kernels import cpp
from gencore_kernels.nearest_code import torch_path
from gencore_kernels.nearest_code.torch_path import CentredCodes

_MOST = 16  # candidates of a row
_GRAIN = 384  # rows below which another thread, which packs the codes for itself, costs more than it saves


def centre_codes(codebook: Tensor, bias: Tensor | None) -> CentredCodes:
    """torch_path.centre_codes, with offsets of +inf for copies of an earlier code, too."""
    prepared = torch_path.centre_codes(codebook, bias)
    codebook, bias = _numbers(codebook), None if bias is None else _numbers(bias)
    # Not in parts: a copy may stand anywhere.
    units = len(codebook)
    cpp.run("leave_copies_out", codebook, bias, prepared.offsets, codebook.shape[1], units=units, grain=units)
    return prepared


def search(
    x: Tensor, codebook: Tensor, bias: Tensor | None, prepared: CentredCodes, *, certified: bool = True
) -> tuple[Tensor, Tensor]:
    """x [N, D], codebook [K, D], bias [K] or None, on the CPU and float32 or narrower -> (index int64 [N], distance
    float32 [N]); `certified` as torch_path.search has it."""
    x, codebook = _numbers(x), _numbers(codebook)
    bias = None if bias is None else _numbers(bias)
    num_rows, dim = x.shape
    best, rival, norm, distance = (x.new_empty(num_rows) for _ in range(4))
    index = x.new_empty(num_rows, dtype=torch.int64)
    sizes = len(prepared.weights), dim
    cpp.run("nearest_search", *_problem(x, prepared), best, rival, norm, index, *sizes, units=num_rows, grain=_GRAIN)
    threshold = best + torch_path.margin_of(norm, tuple(prepared.limits.tolist()), dim, certified)
    left_open = (~(rival > threshold)).nonzero()[:, 0]
    if len(left_open):
        index[left_open] = _settle(x, codebook, bias, prepared, left_open, threshold)
    undefined = index < 0
    cpp.run("nearest_distances", x, codebook, index.clamp_min_(0), distance, dim, units=num_rows, grain=64 * _GRAIN)
    return index, distance.masked_fill_(undefined, math.nan)


def _numbers(tensor: Tensor) -> Tensor:
    return tensor.float().contiguous()


def _problem(x: Tensor, prepared: CentredCodes) -> tuple[Tensor, ...]:
    return x, prepared.centre, prepared.weights, prepared.offsets, prepared.limits


def _settle(
    x: Tensor, codebook: Tensor, bias: Tensor | None, prepared: CentredCodes, rows: Tensor, threshold: Tensor
) -> Tensor:
    """torch_path.settle, which here only sees the rows of more than `_MOST` candidates."""
    codes, found = rows.new_empty(len(rows), _MOST), torch.empty_like(rows)
    tensors, sizes = (*_problem(x, prepared), threshold, rows, codes, found), (len(prepared.weights), x.shape[1], _MOST)
    cpp.run("nearest_candidates", *tensors, *sizes, units=len(rows), grain=_GRAIN)
    row_P, place_P = (torch.arange(_MOST, device=rows.device) < found[:, None]).nonzero(as_tuple=True)
    index = torch_path.nearest_candidate(x, codebook, bias, rows, row_P, codes[row_P, place_P])
    crowded = found > _MOST
    if crowded.any():
        index[crowded] = torch_path.settle(x, codebook, bias, prepared, rows[crowded], threshold)
    return index
