"""Resampling in plain PyTorch: one depthwise convolution over all planes, transposed where it upsamples.

The N * C planes are the channels of one image: a depthwise convolution of a few channels (RGB) is slow on the CPU. A
transposed convolution never multiplies the zeros that upsampling inserts. 16-bit images are filtered in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from gencore_kernels.upfirdn2d.filters import Pass, output_size, passes


def forward(
    x: Tensor, f: Tensor, up: Sequence[int], down: Sequence[int], padding: Sequence[int], flip: bool, gain: float
) -> Tensor:
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    planes = x.flatten(0, 1)[None].to(dtype)
    for step in passes(f, up, down, padding, gain, dtype):
        planes = _run(planes, step, flip)
    return planes.reshape(*x.shape[:2], *planes.shape[2:]).to(x.dtype).contiguous()


def _run(planes: Tensor, step: Pass, flip: bool) -> Tensor:
    height, width = step.f.shape
    left, right, top, bottom = step.padding
    rows, columns = planes.shape[2] * step.up[0] + top + bottom, planes.shape[3] * step.up[1] + left + right
    # A convolution of PyTorch does not turn the kernel round, a transposed one does.
    upsamples = step.up != (1, 1)
    kernel = step.gain * (step.f if flip != upsamples else step.f.flip(0, 1))
    weight = kernel.expand(max(1, planes.shape[1]), 1, -1, -1).contiguous()
    if not planes.shape[1]:
        return planes.new_empty(1, 0, *output_size(planes.shape[2:], step.f.shape, step.up, step.down, step.padding))
    if not upsamples:
        padded = _window(planes, (-top, -left), (rows, columns))
        return functional.conv2d(padded, weight, stride=step.down, groups=len(weight))
    crop = (height - 1 - top, width - 1 - left)
    size = (rows - height + 1, columns - width + 1)
    return _transposed(planes, weight, step.up, crop, size)[:, :, :: step.down[0], :: step.down[1]].contiguous()


def _transposed(
    planes: Tensor, weight: Tensor, up: tuple[int, int], crop: Sequence[int], size: Sequence[int]
) -> Tensor:
    """The window of `size` that begins `crop` pixels into the whole transposed convolution; zeros outside it."""
    whole = [(n - 1) * u + k for n, u, k in zip(planes.shape[2:], up, weight.shape[2:], strict=True)]
    # PyTorch crops by `padding` on both sides, less `output_padding` at the end: without a copy where that will do.
    spare = [c - (n - s - c) for c, n, s in zip(crop, whole, size, strict=True)]
    if all(c >= 0 and 0 <= extra < u for c, extra, u in zip(crop, spare, up, strict=True)):
        return functional.conv_transpose2d(planes, weight, None, up, list(crop), spare, groups=len(weight))
    return _window(functional.conv_transpose2d(planes, weight, None, up, groups=len(weight)), crop, size)


def _window(planes: Tensor, start: Sequence[int], size: Sequence[int]) -> Tensor:
    """planes[..., start : start + size] over the last two axes, with zeros where that lies outside."""
    padding: list[int] = []
    for dim, begin, length in zip((2, 3), start, size, strict=True):
        first, last = (min(max(edge, 0), planes.shape[dim]) for edge in (begin, begin + length))
        before = min(max(-begin, 0), length)
        planes = planes.narrow(dim, first, last - first)
        padding = [before, length - before - (last - first), *padding]
    return functional.pad(planes, padding) if any(padding) else planes
