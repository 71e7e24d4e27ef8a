"""Rows per code and their sum: what exponential moving averages of a codebook are fed with."""

from __future__ import annotations

import torch
from torch import Tensor

from gencore_kernels.nearest_code import reference
from gencore_kernels.nearest_code.torch_path import work_dtype

SCHEMA = (
    "code_statistics(Tensor x, Tensor index, Tensor defined, int num_codes, bool with_sums, bool deterministic, "
    "str implementation) -> (Tensor, Tensor)"
)
_ELEMENTS = 1 << 18


def kernel(
    x: Tensor,
    index: Tensor,
    defined: Tensor,
    num_codes: int,
    with_sums: bool,
    deterministic: bool,
    implementation: str,
) -> tuple[Tensor, Tensor]:
    """x [H, N, D], index int64 and defined bool [H, N] -> (counts int64 [H, K], sums [H, K, D] or empty)."""
    if implementation == "reference":
        counts, sums = reference.statistics(x, index, defined, num_codes)
        return counts, sums.to(work_dtype(x.dtype)) if with_sums else x.new_empty(0, dtype=work_dtype(x.dtype))
    heads, _, dim = x.shape
    segment = index + torch.arange(heads, device=x.device)[:, None] * num_codes
    segment = torch.where(defined, segment, heads * num_codes)  # one segment more takes the rows that do not count
    counts = count_rows(segment.flatten(), heads * num_codes + 1)[:-1].view(heads, num_codes)
    if not with_sums:
        return counts, x.new_empty(0, dtype=work_dtype(x.dtype))
    if implementation == "triton":
        from gencore_kernels.nearest_code import triton_path

        return counts, triton_path.segment_sums(x, segment, counts, deterministic)
    sums = x.new_zeros((heads * num_codes + 1, dim), dtype=work_dtype(x.dtype))
    for head in range(heads):
        rows = max(1, _ELEMENTS // dim)
        for part, target in zip(x[head].split(rows), segment[head].split(rows), strict=True):
            sums.index_add_(0, target, part.to(sums.dtype))
    return counts, sums[:-1].view(heads, num_codes, dim)


def count_rows(segment: Tensor, num_segments: int) -> Tensor:
    """int64 [num_segments]. Integers add up to the same in any order; bincount would wait for a GPU."""
    ones = torch.ones_like(segment)
    return ones.new_zeros(num_segments).index_add_(0, segment, ones)


def fake(
    x: Tensor,
    index: Tensor,
    defined: Tensor,
    num_codes: int,
    with_sums: bool,
    deterministic: bool,
    implementation: str,
) -> tuple[Tensor, Tensor]:
    counts = x.new_empty((x.shape[0], num_codes), dtype=torch.int64)
    shape = (x.shape[0], num_codes, x.shape[2]) if with_sums else (0,)
    return counts, x.new_empty(shape, dtype=work_dtype(x.dtype))
