"""A diffusion step on the CPU as one C++ kernel, which torch.compile writes from the formulas here.

It is compiled at the first call (seconds; torch keeps it on disk) for tensors of any size, once with guidance and once
without, and again where a batch has a row for each sample. Every tensor is read once and the result written once:

    y = p0 clamp(kx x + ko o, +-r) + px x + po o + sigma z

With a dynamic threshold there is a kernel more, which computes x0 for the quantile s; in the step r is s, and p0 is
divided by s.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from gencore_kernels.diffusion_step import reference, torch_path
from gencore_kernels.diffusion_step.table import StepRow
from gencore_kernels.philox import philox_normal

P0, RADIUS = StepRow._fields.index("p0"), StepRow._fields.index("radius")


def diffusion_step(
    x: Tensor,
    out: Tensor,
    table: Tensor,
    step: Tensor,
    uncond: Tensor | None,
    noise: Tensor | None,
    seeds: Tensor | None,
    threshold: float | None,
) -> Tensor:
    """The next sample, contiguous, of x's shape; all float32 on the CPU."""
    if not x.numel():
        return torch.empty(x.shape)
    if noise is None and seeds is not None:
        noise = philox_normal(seeds, step, tuple(x.shape[1:]))
    rows = torch_path.rows_at(table, step, noise is not None)
    batch = len(rows) if threshold is None else len(x)
    # x stands for the noise where no row asks for any: one program fewer.
    tensors = [_matrix(t, batch) for t in (x, out, x if noise is None else noise)]
    guide = [] if uncond is None else [_matrix(uncond, batch)]
    step_, estimate = (_step, _estimate) if uncond is None else (_guided_step, _guided_estimate)
    numbers = torch.tensor(rows)
    masks = (numbers != 0).int().neg_()
    with torch.no_grad():
        if threshold is not None:
            x0 = _compiled(estimate)(*tensors[:2], numbers, masks, *guide)
            numbers, masks = numbers.repeat(batch // len(rows), 1), masks.repeat(batch // len(rows), 1)
            numbers[:, RADIUS] = reference.dynamic_radius(torch_path.quantile_abs(x0, threshold), numbers[:, RADIUS])
            numbers[:, P0] /= numbers[:, RADIUS]
        return _compiled(step_)(*tensors, numbers, masks, *guide).view(x.shape)


def _matrix(tensor: Tensor, rows: int) -> Tensor:
    """Its numbers as (rows, n). Not a view: torch.compile makes a program for each shape that views are views of."""
    whole = tensor.contiguous()
    columns = whole.numel() // rows
    return torch.empty(0).set_(whole.untyped_storage(), whole.storage_offset(), (rows, columns), (columns, 1))


def _estimate(x: Tensor, out: Tensor, numbers: Tensor, masks: Tensor) -> Tensor:
    """x0 before its clamp. Tensors (rows, n), numbers (rows, 8); masks has no bits where a number is 0."""
    (kx, ko, *_), mask = _columns(numbers), _columns(masks)
    return kx * _kept(x, mask[0]) + ko * _kept(out, mask[1])


def _step(x: Tensor, out: Tensor, noise: Tensor, numbers: Tensor, masks: Tensor) -> Tensor:
    """The next sample; shapes as for `_estimate`."""
    (_, _, p0, px, po, sigma, radius, _), mask = _columns(numbers), _columns(masks)
    x0 = _estimate(x, out, numbers, masks).clamp(min=-radius, max=radius)
    rest = px * _kept(x, mask[3]) + po * _kept(out, mask[4]) + sigma * _kept(noise, mask[5])
    return p0 * _kept(x0, mask[2]) + rest


def _guided_estimate(x: Tensor, out: Tensor, numbers: Tensor, masks: Tensor, uncond: Tensor) -> Tensor:
    return _estimate(x, _guided(out, uncond, numbers), numbers, masks)


def _guided_step(x: Tensor, out: Tensor, noise: Tensor, numbers: Tensor, masks: Tensor, uncond: Tensor) -> Tensor:
    return _step(x, _guided(out, uncond, numbers), noise, numbers, masks)


def _guided(out: Tensor, uncond: Tensor, numbers: Tensor) -> Tensor:
    return uncond + _columns(numbers)[-1] * (out - uncond)


def _kept(value: Tensor, mask: Tensor) -> Tensor:
    """value, or 0 where the mask has no bits, whatever the value: one instruction, where a choice by a number costs a
    third of the kernel's time."""
    return (value.view(torch.int32) & mask).view(torch.float32)


def _columns(numbers: Tensor) -> tuple[Tensor, ...]:
    return numbers[:, :, None].unbind(dim=1)


@functools.cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(function, fullgraph=True, dynamic=True)
