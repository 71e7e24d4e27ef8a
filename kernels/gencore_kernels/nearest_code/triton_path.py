"""Launches the Triton kernels: pinned configurations, workspace, no wait of the host for the device.

Workspace: x in fp16 (N * DP * 2 bytes), 12 bytes a row and split, 16 bytes a row.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from gencore_kernels.dispatch import interpreting
from gencore_kernels.nearest_code import triton_kernels as kernels
from gencore_kernels.nearest_code import triton_statistics


class Config(NamedTuple):
    """Blocks of `score_groups` (group_tiles is U) and of `rescore_split`; rescore_rows 0: no tier 1, straight to
    float64 (at 512 dimensions two halves of 16 rows alone take 256 registers a thread)."""

    rows: int
    codes: int
    num_warps: int
    num_stages: int
    group_tiles: int
    rescore_rows: int
    rescore_codes: int


# Chosen from registers, spills and shared memory of the compiled code (python -m gencore_kernels.aot), not from
# timings. Keys: (compute capability class, padded dimension). 16 warps leave 128 registers a thread, hence 64 codes a
# tile.
CONFIGS = {
    (80, 16): Config(128, 64, 8, 3, 4, 64, 64),
    (80, 32): Config(128, 64, 8, 3, 4, 64, 64),
    (80, 64): Config(128, 64, 8, 3, 4, 64, 64),
    (80, 128): Config(64, 64, 4, 3, 4, 32, 64),
    (80, 256): Config(64, 64, 4, 2, 4, 16, 32),
    (80, 512): Config(64, 32, 8, 1, 4, 0, 0),
    (90, 16): Config(128, 64, 8, 4, 8, 64, 64),
    (90, 32): Config(128, 64, 8, 4, 8, 64, 64),
    (90, 64): Config(128, 64, 8, 3, 8, 64, 64),
    (90, 128): Config(256, 64, 16, 3, 8, 64, 32),
    (90, 256): Config(256, 64, 16, 2, 4, 16, 32),
    (90, 512): Config(128, 64, 8, 1, 4, 0, 0),
}
# The interpreter walks reductions entry by entry in Python.
INTERPRETER_CONFIG = Config(16, 16, 4, 1, 4, 16, 16)
RESCAN_CODES, RESCAN_DIMS = 128, 16
_FUSED = {"enable_fp_fusion": True}  # the default changes in Triton 3.10; the bounds hold with and without
_MAX_SPLITS = 8


class Prepared(NamedTuple):
    """A codebook for the Triton kernels. centre [H, D] float32; high and low [H, K', D'] float16, the centred and
    scaled codes in two parts; offsets [H, K'] float32: ||C||^2 + bias s^2, +inf for padding and unusable codes; limits
    [H, 8] float32: s, max ||C||, max ||C - high||, max ||C - high - low||, max ||low||, max (||C||^2 + |bias| s^2), 0,
    0. codes [H, K, D]: the codebook, contiguous."""

    centre: Tensor
    high: Tensor
    low: Tensor
    offsets: Tensor
    limits: Tensor
    codes: Tensor


def padded_dim(dim: int) -> int:
    """A power of two that a tensor core takes: at least 16."""
    return max(16, triton.next_power_of_2(dim))


@functools.cache
def _machine(device_index: int) -> tuple[int, int]:
    """(capability class, number of multiprocessors)."""
    properties = torch.cuda.get_device_properties(device_index)
    return (90 if properties.major == 9 else 80), properties.multi_processor_count


def configuration(device: torch.device, dim: int) -> tuple[Config, int]:
    """(blocks for rows of `dim` dimensions, number of multiprocessors to fill)."""
    if interpreting():
        return INTERPRETER_CONFIG, 2
    kind, processors = _machine(device.index or 0)
    return CONFIGS[kind, padded_dim(dim)], processors


def prepare(codebook: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    """codebook [H, K, D], bias [H, K] or None -> the tensors of `Prepared`, without waiting for the device."""
    _, num_codes, dim = codebook.shape
    usable = codebook.isfinite().all(-1)
    if bias is not None:
        usable &= bias.isfinite()
    codes = torch.where(usable[..., None], codebook.double(), 0.0)
    centre = (codes.sum(1) / usable.sum(1, keepdim=True).clamp_min(1)).float()
    centred = torch.where(usable[..., None], codebook.float() - centre[:, None], 0.0)
    exponent = torch.frexp(centred.abs().amax((1, 2))).exponent
    scale = torch.ldexp(torch.ones_like(centre[:, 0]), (14 - exponent).clamp(-126, 126))
    centred = centred * scale[:, None, None]
    high = centred.half()
    low = (centred - high.float()).half()
    squares = centred.double().square().sum(-1)
    shift = torch.zeros_like(squares)
    if bias is not None:
        shift = bias.double().masked_fill(~usable, 0.0) * scale.double().square()[:, None]
    norms = [
        part.double().square().sum(-1).sqrt().amax(1)
        for part in (centred, centred - high.float(), centred - high.float() - low.float(), low)
    ]
    largest_offset = (squares + shift.abs()).amax(1)
    empty = torch.zeros_like(largest_offset)
    limits = torch.stack([scale.double(), *norms, largest_offset, empty, empty], 1).float()
    finite = torch.finfo(torch.float32).max
    offsets = (squares + shift).float().nan_to_num(finite, finite, -finite).masked_fill(~usable, torch.inf)
    config, _ = configuration(codebook.device, dim)
    pad_codes, pad_dims = -num_codes % (config.codes * config.group_tiles), padded_dim(dim) - dim
    pad = torch.nn.functional.pad
    return Prepared(
        centre,
        pad(high, (0, pad_dims, 0, pad_codes)),
        pad(low, (0, pad_dims, 0, pad_codes)),
        pad(offsets, (0, pad_codes), value=torch.inf),
        limits,
        codebook.contiguous(),
    )


def _num_splits(row_blocks: int, heads: int, groups: int, processors: int) -> int:
    """Splits of the codebook, so that few rows still fill the machine: about four programs a multiprocessor."""
    wanted = -(-4 * processors // max(1, row_blocks * heads))
    return max(1, min(_MAX_SPLITS, wanted, groups))


def search(
    x: Tensor, codebook: Tensor, bias: Tensor | None, tensors: list[Tensor] | tuple[Tensor, ...], *, certified: bool
) -> tuple[Tensor, Tensor]:
    """x [H, N, D], codebook [H, K, D] -> (index int64 [H, N], distance float32 [H, N])."""
    prepared = Prepared(*tensors)
    heads, num_rows, dim = x.shape
    index = torch.empty((heads, num_rows), dtype=torch.int64, device=x.device)
    distance = torch.empty((heads, num_rows), dtype=torch.float32, device=x.device)
    if not index.numel():
        return index, distance
    padded, num_codes, num_padded = prepared.high.shape[2], codebook.shape[1], prepared.high.shape[1]
    config, processors = configuration(x.device, dim)
    shifts = prepared.offsets if bias is None else bias.contiguous()
    # fmt: off
    rows16, factor, bound, square = _prepare_rows(x, prepared, padded)
    row_blocks, span = triton.cdiv(num_rows, config.rows), config.codes * config.group_tiles
    groups = num_padded // span
    splits = _num_splits(row_blocks, heads, groups, processors)
    span *= triton.cdiv(groups, splits)
    group = torch.empty((splits, heads, num_rows), dtype=torch.int32, device=x.device)
    best, second = (torch.empty_like(group, dtype=torch.float32) for _ in range(2))
    kernels.score_groups[row_blocks, heads, splits](
        rows16, prepared.high, prepared.offsets, factor, group, best, second, num_rows, num_padded, span,
        padded, config.rows, config.codes, config.group_tiles,
        num_warps=config.num_warps, num_stages=config.num_stages, **_FUSED,
    )
    listed, still_listed = torch.empty((2, heads, num_rows), dtype=torch.int32, device=x.device)
    count = torch.zeros((heads, 2), dtype=torch.int32, device=x.device)
    strides = x.stride()
    block = settle_rows(padded)
    kernels.settle_groups[triton.cdiv(num_rows, block), heads](
        x, prepared.codes, shifts, prepared.offsets, prepared.limits, group, best, second, bound, square,
        index, distance, listed, count, num_rows, num_codes, num_padded, *strides,
        dim, padded, block, config.codes, config.group_tiles, splits, bias is not None, certified,
        num_warps=settle_warps(padded), **_FUSED,
    )
    rescored = certified and config.rescore_rows > 0
    if rescored:
        kernels.rescore_split[4 * processors, heads](
            x, prepared.centre, prepared.high, prepared.low, prepared.offsets, prepared.limits, prepared.codes,
            index, distance, listed, count, still_listed, num_rows, num_codes, num_padded, *strides,
            dim, padded, config.rescore_rows, config.rescore_codes,
            num_warps=rescore_warps(padded), num_stages=2, **_FUSED,
        )
    kernels.rescan_float64[8 * processors, heads](
        x, prepared.codes, shifts, prepared.offsets, index, distance, still_listed if rescored else listed, count,
        int(rescored), num_rows, num_codes, num_padded, *strides,
        dim, min(RESCAN_DIMS, padded), RESCAN_CODES, bias is not None, **_FUSED,
    )
    # fmt: on
    return index, distance


def settle_rows(padded: int) -> int:
    """Rows of a block of `settle_groups` and `prepare_rows`: 4096 entries on 4 warps do not spill."""
    return min(128, max(8, 4096 // padded))


def settle_warps(padded: int) -> int:
    """On 4 warps, 512 dimensions spill, and so do 64 with Triton 3.6."""
    return 8 if padded in (64, 512) else 4


def rescore_warps(padded: int) -> int:
    """On 4 warps, 128 dimensions and more fill every register, and with Triton 3.4 or 3.7 they spill."""
    return 8 if padded >= 128 else 4


def _prepare_rows(x: Tensor, prepared: Prepared, padded: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    heads, num_rows, dim = x.shape
    rows16 = torch.empty((heads, num_rows, padded), dtype=torch.float16, device=x.device)
    factor, bound, square = torch.empty((3, heads, num_rows), dtype=torch.float32, device=x.device)
    block = settle_rows(padded)
    kernels.prepare_rows[triton.cdiv(num_rows, block), heads](
        x,
        prepared.centre,
        prepared.limits,
        rows16,
        factor,
        bound,
        square,
        num_rows,
        *x.stride(),
        dim,
        padded,
        block,
        **_FUSED,
    )
    return rows16, factor, bound, square


segment_sums = triton_statistics.segment_sums
