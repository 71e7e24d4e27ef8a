"""The exact quantile of |x| on the GPU, by radix selection on the bits of a float: no sort, four reads of x."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

NAN = tl.constexpr(float("nan"))
INFINITY_BITS = tl.constexpr(0x7F800000)
LARGEST_BITS = tl.constexpr(0x7FFFFFFF)
QUANTILE_CONFIGURATION = {"BLOCK": 4096, "num_warps": 8, "num_stages": 1}


@triton.jit
def _bits(row_ptr, element, n):
    """The bits of |x| as int32: in the order of the numbers themselves, NaN above infinity."""
    value = tl.load(row_ptr + element, mask=element < n, other=0.0).to(tl.float32)
    return value.to(tl.int32, bitcast=True) & LARGEST_BITS


@triton.jit
def _select_digit(
    row_ptr, n, prefix, rank, SHIFT: tl.constexpr, ABOVE: tl.constexpr, DIGITS: tl.constexpr, BLOCK: tl.constexpr
):
    """Among the numbers whose bits above ABOVE are prefix: the digit at SHIFT of the one of this rank, and its rank
    within that digit.
    """
    histogram = tl.zeros((DIGITS,), tl.int32)
    for start in tl.range(0, n, BLOCK):
        element = start + tl.arange(0, BLOCK)
        bits = _bits(row_ptr, element, n)
        taken = (element < n) & ((bits >> ABOVE) == prefix)
        histogram += tl.histogram((bits >> SHIFT) & (DIGITS - 1), DIGITS, mask=taken)
    digit = tl.sum((tl.cumsum(histogram, 0) <= rank).to(tl.int32), axis=0)
    return digit, rank - tl.sum(tl.where(tl.arange(0, DIGITS) < digit, histogram, 0), axis=0)


@triton.jit
def quantile_kernel(x_ptr, quantile_ptr, n, rank, share, BLOCK: tl.constexpr):
    """quantile [batch] = |x|_(rank) + share (|x|_(rank + 1) - |x|_(rank)) of each row of x [batch, n]; three digits of
    11, 10, 10 bits.
    """
    row_ptr = x_ptr + tl.program_id(0).to(tl.int64) * n
    first, left = _select_digit(row_ptr, n, 0, rank, 20, 31, 2048, BLOCK)
    second, left = _select_digit(row_ptr, n, first, left, 10, 20, 1024, BLOCK)
    prefix = (first << 10) | second
    third, left = _select_digit(row_ptr, n, prefix, left, 0, 10, 1024, BLOCK)
    low_bits = (prefix << 10) | third
    not_above = tl.zeros((BLOCK,), tl.int32)
    next_bits = tl.full((BLOCK,), LARGEST_BITS, tl.int32)
    largest = tl.zeros((BLOCK,), tl.int32)
    for start in tl.range(0, n, BLOCK):
        element = start + tl.arange(0, BLOCK)
        bits = _bits(row_ptr, element, n)
        ok = element < n
        not_above += (ok & (bits <= low_bits)).to(tl.int32)
        next_bits = tl.minimum(next_bits, tl.where(ok & (bits > low_bits), bits, LARGEST_BITS))
        largest = tl.maximum(largest, bits)
    high_bits = tl.where(tl.sum(not_above, axis=0) > rank + 1, low_bits, tl.min(next_bits, axis=0))
    low, high = low_bits.to(tl.float32, bitcast=True), high_bits.to(tl.float32, bitcast=True)
    between = tl.where((share > 0) & (low != high), low + (high - low) * share, low)
    tl.store(quantile_ptr + tl.program_id(0), tl.where(tl.max(largest, axis=0) > INFINITY_BITS, NAN, between))


def quantile_abs(x: Tensor, p: float, configuration: dict[str, int] | None = None) -> Tensor:
    """x [batch, ...] -> [batch] float32."""
    n = x[0].numel() if len(x) else 0
    result = torch.empty(len(x), dtype=torch.float32, device=x.device)
    if len(x):
        position = p * (n - 1)
        rank = math.floor(position)
        launch = configuration or QUANTILE_CONFIGURATION
        quantile_kernel[(len(x),)](x.contiguous(), result, n, rank, position - rank, **launch)
    return result
