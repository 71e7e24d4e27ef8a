"""Per-code sums of rows: atomic additions, or, deterministically, one program a code over its rows in order."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def add_rows(x, segment, sums, N, stride_h, stride_n, stride_d, D: tl.constexpr, DP: tl.constexpr, BN: tl.constexpr):
    """sums[segment[h, n]] += x[h, n] with atomics: the order of the additions, so the last bits, change."""
    head = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    dims = tl.arange(0, DP)
    valid = (rows < N)[:, None] & (dims < D)[None, :]
    target = tl.load(segment + head * N + rows, mask=rows < N, other=0)
    place = head * stride_h + rows[:, None].to(tl.int64) * stride_n + dims[None, :].to(tl.int64) * stride_d
    value = tl.load(x + place, mask=valid, other=0.0).to(tl.float32)
    tl.atomic_add(sums + target[:, None] * D + dims[None, :], value, mask=valid, sem="relaxed")


@triton.jit
def sum_sorted(
    x, order, ends, sums, N, stride_h, stride_n, stride_d, D: tl.constexpr, DP: tl.constexpr, BN: tl.constexpr
):
    """sums[k] = sum of the rows order[ends[k - 1] : ends[k]], in that order; `order` counts rows over all heads."""
    code = tl.program_id(0)
    stop = tl.load(ends + code)
    start = tl.load(ends + code - 1, mask=code > 0, other=0)
    dims = tl.arange(0, DP)
    total = tl.zeros((BN, DP), tl.float32)
    for first in tl.range(start, stop, BN):
        place = first + tl.arange(0, BN)
        row = tl.load(order + place, mask=place < stop, other=0)
        offset = (row // N) * stride_h + (row % N) * stride_n
        valid = (place < stop)[:, None] & (dims < D)[None, :]
        there = offset[:, None] + dims[None, :].to(tl.int64) * stride_d
        total += tl.load(x + there, mask=valid, other=0.0).to(tl.float32)
    tl.store(sums + code.to(tl.int64) * D + dims, tl.sum(total, axis=0), mask=dims < D)


def rows_per_block(padded: int) -> int:
    """4096 entries a block of 4 warps."""
    return max(8, 4096 // padded)


SORTED_ROWS = 8


def segment_sums(x: Tensor, segment: Tensor, counts: Tensor, deterministic: bool) -> Tensor:
    """x [H, N, D], segment int64 [H, N] in [0, H K], where H K means none, counts [H, K] -> sums float32 [H, K, D]."""
    heads, num_rows, dim = x.shape
    num_codes = counts.shape[1]
    padded = max(16, triton.next_power_of_2(dim))
    sums = torch.zeros((heads * num_codes + 1, dim), dtype=torch.float32, device=x.device)
    if x.numel() and deterministic:
        order = segment.flatten().sort(stable=True).indices
        ends = counts.flatten().cumsum(0)
        sum_sorted[heads * num_codes,](
            x, order, ends, sums, num_rows, *x.stride(), dim, padded, SORTED_ROWS, num_warps=4
        )
    elif x.numel():
        block = rows_per_block(padded)
        add_rows[triton.cdiv(num_rows, block), heads](
            x, segment, sums, num_rows, *x.stride(), dim, padded, block, num_warps=4
        )
    return sums[:-1].view(heads, num_codes, dim)
