"""Triton kernels of the minibatch standard deviation layer: statistic, copy and concatenation in one pass over memory.

A program owns one slice of the n elements of one (group, feature): it reads the G members of each element into
registers, takes mean and variance there, and writes the pass-through copy on the way. Groups of more than 16 are read
again instead (their registers would spill). Samples of more than 65,536 numbers are split over programs, and a second
small kernel adds the parts up, in order.
"""

# ruff: noqa: RUF005 - Triton does not unpack tuples with a star
# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

MAX_UNROLLED_GROUP = 16
SPLIT_ABOVE = 1 << 16
SPLIT_LENGTH = 1 << 14


@triton.jit
def _moments(x_ptr, first_row, M, CHW, offset, ok, GROUP: tl.constexpr, BLOCK: tl.constexpr):
    """Mean and mean squared deviation over the group, of one block of elements, reading it twice."""
    mean = tl.zeros((BLOCK,), tl.float32)
    for member in tl.range(0, GROUP):
        row = (member * M + first_row).to(tl.int64)
        mean += tl.load(x_ptr + row * CHW + offset, mask=ok, other=0.0).to(tl.float32)
    mean = mean / GROUP
    variance = tl.zeros((BLOCK,), tl.float32)
    for member in tl.range(0, GROUP):
        row = (member * M + first_row).to(tl.int64)
        centred = tl.load(x_ptr + row * CHW + offset, mask=ok, other=0.0).to(tl.float32) - mean
        variance += centred * centred
    return mean, variance / GROUP


@triton.jit
def _unrolled_moments(values, GROUP: tl.constexpr, BLOCK: tl.constexpr):
    mean = tl.zeros((BLOCK,), tl.float32)
    for g in tl.static_range(GROUP):
        mean += values[g]
    mean = mean / GROUP
    variance = tl.zeros((BLOCK,), tl.float32)
    for g in tl.static_range(GROUP):
        variance += (values[g] - mean) * (values[g] - mean)
    return mean, variance / GROUP


@triton.jit
def _fill_planes(out_ptr, statistic, row, f, HW, CHW, out_row, CONCAT: tl.constexpr, BLOCK: tl.constexpr):
    base = out_ptr + row.to(tl.int64) * out_row + f * HW
    if CONCAT:
        base += CHW
    for start in tl.range(0, HW, BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        tl.store(base + pixel, tl.full((BLOCK,), 0.0, tl.float32) + statistic, mask=pixel < HW)


@triton.jit
def forward_kernel(
    x_ptr, out_ptr, part_ptr, M, F, N, CHW, HW, out_row, length, splits, eps,
    GROUP: tl.constexpr, UNROLLED: tl.constexpr, CONCAT: tl.constexpr, SPLIT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x [GROUP * M, CHW] contiguous -> out [GROUP * M, out_row]: x's numbers (CONCAT), then the planes unless SPLIT.

    part [M, F, splits] receives the sums of sigma over each slice (of `length` of the feature's N elements), divided
    by N.
    """
    pid = tl.program_id(0)
    m, f, split = pid // (F * splits), (pid // splits) % F, pid % splits
    total = tl.zeros((BLOCK,), tl.float32)
    end = tl.minimum((split + 1) * length, N)
    for start in tl.range(split * length, end, BLOCK):
        element = start + tl.arange(0, BLOCK)
        ok = element < end
        offset = f * N + element
        if UNROLLED:
            values = ()
            for g in tl.static_range(GROUP):
                row = (g * M + m).to(tl.int64)
                value = tl.load(x_ptr + row * CHW + offset, mask=ok, other=0.0)
                if CONCAT:
                    tl.store(out_ptr + row * out_row + offset, value, mask=ok)
                values = values + (value.to(tl.float32),)
            _, variance = _unrolled_moments(values, GROUP, BLOCK)
        else:
            _, variance = _moments(x_ptr, m, M, CHW, offset, ok, GROUP, BLOCK)
            if CONCAT:
                for member in tl.range(0, GROUP):
                    row = (member * M + m).to(tl.int64)
                    value = tl.load(x_ptr + row * CHW + offset, mask=ok, other=0.0)
                    tl.store(out_ptr + row * out_row + offset, value, mask=ok)
        total += tl.where(ok, tl.sqrt(variance + eps), 0.0)
    statistic = tl.sum(total, axis=0) / N
    if SPLIT:
        tl.store(part_ptr + pid, statistic)
    else:
        for member in tl.range(0, GROUP):
            _fill_planes(out_ptr, statistic, member * M + m, f, HW, CHW, out_row, CONCAT, BLOCK)


@triton.jit
def fill_kernel(
    part_ptr, out_ptr, M, F, CHW, HW, out_row, splits, CONCAT: tl.constexpr, SPLITS: tl.constexpr, BLOCK: tl.constexpr
):
    """part [M, F, splits] -> the planes of out, one program for each sample and feature.

    SPLITS: splits, up to a power of two.
    """
    row, f = tl.program_id(0) // F, tl.program_id(0) % F
    index = tl.arange(0, SPLITS)
    part = tl.load(part_ptr + ((row % M) * F + f) * splits + index, mask=index < splits, other=0.0)
    _fill_planes(out_ptr, tl.sum(part, axis=0), row, f, HW, CHW, out_row, CONCAT, BLOCK)


@triton.jit
def backward_kernel(
    x_ptr, grad_ptr, out_ptr, M, F, N, CHW, HW, grad_row, length, splits, eps,
    GROUP: tl.constexpr, UNROLLED: tl.constexpr, CONCAT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out [GROUP * M, CHW] = grad's first CHW numbers (CONCAT) + sum(grad's planes) / (GROUP N sigma) (x - mean)."""
    pid = tl.program_id(0)
    m, f, split = pid // (F * splits), (pid // splits) % F, pid % splits
    plane = grad_ptr + f * HW
    if CONCAT:
        plane += CHW
    total = tl.zeros((BLOCK,), tl.float32)
    for member in tl.range(0, GROUP):
        row = (member * M + m).to(tl.int64)
        for start in tl.range(0, HW, BLOCK):
            pixel = start + tl.arange(0, BLOCK)
            total += tl.load(plane + row * grad_row + pixel, mask=pixel < HW, other=0.0).to(tl.float32)
    scale = tl.sum(total, axis=0) / N / GROUP
    end = tl.minimum((split + 1) * length, N)
    for start in tl.range(split * length, end, BLOCK):
        element = start + tl.arange(0, BLOCK)
        ok = element < end
        offset = f * N + element
        if UNROLLED:
            values = ()
            for g in tl.static_range(GROUP):
                row = (g * M + m).to(tl.int64)
                values = values + (tl.load(x_ptr + row * CHW + offset, mask=ok, other=0.0).to(tl.float32),)
            mean, variance = _unrolled_moments(values, GROUP, BLOCK)
            slope = scale * tl.rsqrt(variance + eps)
            for g in tl.static_range(GROUP):
                row = (g * M + m).to(tl.int64)
                change = slope * (values[g] - mean)
                if CONCAT:
                    change += tl.load(grad_ptr + row * grad_row + offset, mask=ok, other=0.0).to(tl.float32)
                tl.store(out_ptr + row * CHW + offset, change.to(out_ptr.dtype.element_ty), mask=ok)
        else:
            mean, variance = _moments(x_ptr, m, M, CHW, offset, ok, GROUP, BLOCK)
            slope = scale * tl.rsqrt(variance + eps)
            for member in tl.range(0, GROUP):
                row = (member * M + m).to(tl.int64)
                change = slope * (tl.load(x_ptr + row * CHW + offset, mask=ok, other=0.0).to(tl.float32) - mean)
                if CONCAT:
                    change += tl.load(grad_ptr + row * grad_row + offset, mask=ok, other=0.0).to(tl.float32)
                tl.store(out_ptr + row * CHW + offset, change.to(out_ptr.dtype.element_ty), mask=ok)


def configuration(group_size: int) -> dict[str, int]:
    """Pinned block size and warps; the ahead-of-time gate holds their registers and instruction counts."""
    block, warps = (1024, 4) if group_size <= 4 else (1024, 8) if group_size <= MAX_UNROLLED_GROUP else (512, 8)
    return {"BLOCK": block, "num_warps": warps, "num_stages": 1}


def _layout(x: Tensor, num_features: int) -> tuple[int, int, int, int, int]:
    """(numbers a sample, pixels, elements a feature, elements a split, splits)."""
    numbers = x[0].numel()
    elements = numbers // num_features
    splits = triton.cdiv(elements, SPLIT_LENGTH) if numbers > SPLIT_ABOVE else 1
    return numbers, numbers // x.shape[1], elements, triton.cdiv(elements, splits), splits


def forward(x: Tensor, group_size: int, num_features: int, eps: float, concat: bool) -> Tensor:
    x = x.contiguous()
    channels = x.shape[1] * concat + num_features
    out = torch.empty((len(x), channels, *x.shape[2:]), dtype=x.dtype, device=x.device)
    if not out.numel():
        return out
    numbers, pixels, elements, length, splits = _layout(x, num_features)
    groups, launch = len(x) // group_size, configuration(group_size)
    part = torch.empty((groups, num_features, splits), dtype=torch.float32, device=x.device)
    forward_kernel[(groups * num_features * splits,)](
        x, out, part, groups, num_features, elements, numbers, pixels, out[0].numel(), length, splits, eps,
        GROUP=group_size, UNROLLED=group_size <= MAX_UNROLLED_GROUP, CONCAT=concat, SPLIT=splits > 1, **launch,
    )  # fmt: skip
    if splits > 1:
        fill_kernel[(len(x) * num_features,)](
            part, out, groups, num_features, numbers, pixels, out[0].numel(), splits,
            CONCAT=concat, SPLITS=triton.next_power_of_2(splits), **launch,
        )  # fmt: skip
    return out


def backward(grad: Tensor, x: Tensor, group_size: int, num_features: int, eps: float, concat: bool) -> Tensor:
    x, grad = x.contiguous(), grad.contiguous()
    out = torch.empty_like(x)
    if not out.numel():
        return out
    numbers, pixels, elements, length, splits = _layout(x, num_features)
    groups = len(x) // group_size
    backward_kernel[(groups * num_features * splits,)](
        x, grad, out, groups, num_features, elements, numbers, pixels, grad[0].numel(), length, splits, eps,
        GROUP=group_size, UNROLLED=group_size <= MAX_UNROLLED_GROUP, CONCAT=concat, **configuration(group_size),
    )  # fmt: skip
    return out
