"""Triton kernel of the resampling: it reads only pixels, never an inserted zero, and writes each output once.

A program owns PIXELS places of the output in each of PLANES planes, so that the index arithmetic and the taps serve
several planes. Output o stands at m = o * down - pad in the image with zeros inserted. Of the filter's taps k those
with (m + k) % up = 0 meet a pixel, (m + k) / up: at most ceil(size / up) taps an axis, the first of them -m mod up.
The derivative of a resampling is a resampling, so this kernel is its own backward.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from gencore_kernels.upfirdn2d.filters import Pass, output_size, passes

SMALL_PLANE = 512
MAX_UNROLLED_TAPS = 8


@triton.jit
def _first_tap(position, UP: tl.constexpr):
    """The first tap that meets a pixel, and that pixel. The remainder of a negative number has either sign."""
    tap = (UP - position % UP) % UP
    return tap, (position + tap) // UP


@triton.jit
def _row_of_taps(
    total, base, f_ptr, ky, iy, kx0, ix0, ok, H, W,
    FH: tl.constexpr, FW: tl.constexpr, UP_X: tl.constexpr, FLIP: tl.constexpr,
):  # fmt: skip
    row_ok = (ky < FH) & (iy >= 0) & (iy < H)
    for t in tl.static_range((FW + UP_X - 1) // UP_X):
        kx, ix = kx0 + t * UP_X, ix0 + t
        inside = row_ok & (kx < FW) & (ix >= 0) & (ix < W)
        tap = ky * FW + kx if FLIP else (FH - 1 - ky) * FW + FW - 1 - kx
        weight = tl.load(f_ptr + tap, mask=inside, other=0.0)
        value = tl.load(base + (iy * W + ix)[None, :], mask=inside[None, :] & ok, other=0.0)
        total += weight[None, :] * value.to(tl.float32)
    return total


@triton.jit
def upfirdn2d_kernel(
    x_ptr, f_ptr, out_ptr, planes, H, W, OH, OW, pad_y, pad_x, gain,
    FH: tl.constexpr, FW: tl.constexpr, UP_Y: tl.constexpr, UP_X: tl.constexpr, DOWN_Y: tl.constexpr,
    DOWN_X: tl.constexpr, FLIP: tl.constexpr, UNROLLED: tl.constexpr, PLANES: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """x [planes, H, W] contiguous, f [FH, FW] float32 -> out [planes, OH, OW]."""
    tiles = tl.cdiv(OH * OW, PIXELS)
    plane = (tl.program_id(0) // tiles) * PLANES + tl.arange(0, PLANES)
    pixel = (tl.program_id(0) % tiles) * PIXELS + tl.arange(0, PIXELS)
    ok = (plane < planes)[:, None] & (pixel < OH * OW)[None, :]
    ky0, iy0 = _first_tap((pixel // OW) * DOWN_Y - pad_y, UP_Y)
    kx0, ix0 = _first_tap((pixel % OW) * DOWN_X - pad_x, UP_X)
    base = x_ptr + (plane.to(tl.int64) * (H * W))[:, None]
    total = tl.zeros((PLANES, PIXELS), tl.float32)
    if UNROLLED:
        for t in tl.static_range((FH + UP_Y - 1) // UP_Y):
            total = _row_of_taps(total, base, f_ptr, ky0 + t * UP_Y, iy0 + t, kx0, ix0, ok, H, W, FH, FW, UP_X, FLIP)
    else:
        for t in tl.range(0, (FH + UP_Y - 1) // UP_Y):
            total = _row_of_taps(total, base, f_ptr, ky0 + t * UP_Y, iy0 + t, kx0, ix0, ok, H, W, FH, FW, UP_X, FLIP)
    out = out_ptr + (plane.to(tl.int64) * (OH * OW))[:, None] + pixel[None, :]
    tl.store(out, (total * gain).to(out_ptr.dtype.element_ty), mask=ok)


def constants(
    shape: Sequence[int], up: Sequence[int], down: Sequence[int], flip: bool, out_pixels: int
) -> dict[str, int | bool]:
    """The compile-time arguments for a filter of `shape`, and the pinned tile."""
    taps = triton.cdiv(shape[0], up[0]) * triton.cdiv(shape[1], up[1])
    planes, pixels = (8, 64) if out_pixels <= SMALL_PLANE else (4, 128)
    return {
        "FH": shape[0], "FW": shape[1], "UP_Y": up[0], "UP_X": up[1], "DOWN_Y": down[0], "DOWN_X": down[1],
        "FLIP": flip, "UNROLLED": taps <= MAX_UNROLLED_TAPS, "PLANES": planes, "PIXELS": pixels,
    }  # fmt: skip


NUM_WARPS, NUM_STAGES = 4, 1


def forward(
    x: Tensor, f: Tensor, up: Sequence[int], down: Sequence[int], padding: Sequence[int], flip: bool, gain: float
) -> Tensor:
    planes = x.flatten(0, 1)
    steps = passes(f, up, down, padding, gain, torch.float32)
    for number, step in enumerate(steps, 1):
        planes = _run(planes, step, flip, x.dtype if number == len(steps) else torch.float32)
    return planes.reshape(*x.shape[:2], *planes.shape[1:])


def _run(planes: Tensor, step: Pass, flip: bool, dtype: torch.dtype) -> Tensor:
    x, f = planes.contiguous(), step.f.contiguous()
    rows, columns = output_size(x.shape[1:], f.shape, step.up, step.down, step.padding)
    out = torch.empty((len(x), rows, columns), dtype=dtype, device=x.device)
    if not out.numel():
        return out
    fixed = constants(f.shape, step.up, step.down, flip, rows * columns)
    grid = (triton.cdiv(len(x), fixed["PLANES"]) * triton.cdiv(rows * columns, fixed["PIXELS"]),)
    upfirdn2d_kernel[grid](
        x, f, out, *x.shape, rows, columns, step.padding[2], step.padding[0], step.gain, **fixed,
        num_warps=NUM_WARPS, num_stages=NUM_STAGES,
    )  # fmt: skip
    return out
