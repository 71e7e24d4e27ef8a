"""Nearest code on the CPU in C++ (search.cpp): torch_path's scores and certificate, with a product of its own whose
scores are never written to memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gencore_kernels import cpp
from gencore_kernels.nearest_code import torch_path
from gencore_kernels.nearest_code.torch_path import CentredCodes

_MOST = 16  # candidates of a row


@functools.cache
def functions() -> dict[str, Callable[..., None]]:
    """search.cpp's, compiled where that has not been done."""
    return cpp.load(Path(__file__).with_name("search.cpp"), search=(9, 3), candidates=(11, 4), distances=(4, 2))


def search(
    x: Tensor, codebook: Tensor, bias: Tensor | None, prepared: CentredCodes, *, certified: bool = True
) -> tuple[Tensor, Tensor]:
    """x [N, D], codebook [K, D], bias [K] or None, on the CPU and float32 or narrower -> (index int64 [N], distance
    float32 [N]); `certified` as torch_path.search has it."""
    x, codebook = x.float().contiguous(), codebook.float().contiguous()
    bias = None if bias is None else bias.float().contiguous()
    num_rows, dim = x.shape
    best, rival, norm, distance = (x.new_empty(num_rows) for _ in range(4))
    index = x.new_empty(num_rows, dtype=torch.int64)
    functions()["search"](*_problem(x, prepared), best, rival, norm, index, num_rows, len(prepared.weights), dim)
    threshold = best + torch_path.margin_of(norm, tuple(prepared.limits.tolist()), dim, certified)
    left_open = (~(rival > threshold)).nonzero()[:, 0]
    if len(left_open):
        index[left_open] = _settle(x, codebook, bias, prepared, left_open, threshold)
    undefined = index < 0
    functions()["distances"](x, codebook, index.clamp_min_(0), distance, num_rows, dim)
    return index, distance.masked_fill_(undefined, math.nan)


def _problem(x: Tensor, prepared: CentredCodes) -> tuple[Tensor, ...]:
    return x, prepared.centre, prepared.weights, prepared.offsets, prepared.limits


def _settle(
    x: Tensor, codebook: Tensor, bias: Tensor | None, prepared: CentredCodes, rows: Tensor, threshold: Tensor
) -> Tensor:
    """torch_path.settle, which here only sees the rows of more than `_MOST` candidates."""
    codes, found = rows.new_empty(len(rows), _MOST), torch.empty_like(rows)
    sizes = len(rows), len(prepared.weights), x.shape[1], _MOST
    functions()["candidates"](*_problem(x, prepared), codebook, bias, threshold, rows, codes, found, *sizes)
    row_P, place_P = (torch.arange(_MOST, device=rows.device) < found[:, None]).nonzero(as_tuple=True)
    index = torch_path.nearest_candidate(x, codebook, bias, rows, row_P, codes[row_P, place_P])
    crowded = found > _MOST
    if crowded.any():
        index[crowded] = torch_path.settle(x, codebook, bias, prepared, rows[crowded], threshold)
    return index
