"""A diffusion step in plain PyTorch. On the CPU it works chunk by chunk in cache, with the clamp folded into the
coefficients:

    p0 clamp(kx x + ko o, +-r) = clamp(p0 kx x + p0 ko o, +-|p0| r),   and without a clamp   y = (p0 kx + px) x + (p0
    ko + po) o

A coefficient of exactly 0 leaves its term out. Elsewhere (a GPU without Triton, or under torch.compile, which fuses
it) the step is the reference's formula. The derivative is the same on every device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gencore_kernels.diffusion_step import reference
from gencore_kernels.diffusion_step.table import StepRow
from gencore_kernels.philox import philox_normal

CHUNK = (
    1 << 17
)  # elements; smaller ones fit nearer caches, but pay more per operation (measured: 1 << 15 is 1.4x slower)

Parts = list[Any]  # x, out, uncond or None, noise or None, y


def quantile_abs(x: Tensor, p: float) -> Tensor:
    """x [batch, ...] floating -> [batch], exact; partial selection instead of a sort (22x faster than torch.quantile
    at p = 0.995).

    A few samples at a time on the CPU: a copy of |x| as large as x costs more in page faults than the selection itself.
    """
    flat = x.flatten(1)
    rows = max(1, CHUNK // flat.shape[1]) if x.device.type == "cpu" else len(flat)
    return torch.cat([_quantile(block.abs(), p) for block in flat.split(rows)])


def _quantile(magnitude: Tensor, p: float) -> Tensor:
    n = magnitude.shape[1]
    position = p * (n - 1)
    below = math.floor(position)
    if below + 1 >= n:
        return magnitude.amax(dim=1)
    if 2 * below >= n:  # the top holds the n - below largest, so its smallest is order statistic `below`
        top = magnitude.topk(n - below, dim=1, sorted=False).values
        low, high = top.topk(2, dim=1, largest=False).values.unbind(dim=1)
    else:
        bottom = magnitude.topk(below + 2, dim=1, largest=False, sorted=False).values
        high, low = bottom.topk(2, dim=1).values.unbind(dim=1)
    between = torch.where(low == high, low, low + (high - low) * (position - below))
    return torch.where(magnitude.amax(dim=1).isnan(), math.nan, between)


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
    """The next sample, contiguous, of x's shape and dtype."""
    if x.device.type != "cpu":
        return reference.diffusion_step(x, out, table, step, uncond, noise, seeds, threshold).contiguous()
    result = torch.empty(x.shape, dtype=x.dtype)
    if not result.numel():
        return result
    if noise is None and seeds is not None:
        noise = philox_normal(seeds, step, tuple(x.shape[1:]))
    dtype = reference.working_dtype(x, out, uncond, noise)
    y = result if result.dtype == dtype else torch.empty(x.shape, dtype=dtype)
    batch: Parts = [None if t is None else t.contiguous().reshape(len(x), -1) for t in (x, out, uncond, noise, y)]
    rows = rows_at(table, step, noise is not None)
    if threshold is None:
        for row, tensors in _by_row(rows, batch):
            _write_step(folded(row), *tensors)
    else:
        _write_thresholded_step(rows, threshold, batch)
    if y is not result:
        result.copy_(y)
    return result


def rows_at(table: Tensor, step: Tensor, has_noise: bool) -> list[StepRow]:
    """The row of each step; all NaN where the step is outside the table, or noise is due and there is none."""
    inside = (step >= 0) & (step < len(table))
    numbers = table[step.clamp(0, len(table) - 1).reshape(-1).long()].tolist()
    rows = [StepRow(*row) for row in numbers]
    usable = [
        good and (has_noise or row.sigma == 0) for good, row in zip(inside.reshape(-1).tolist(), rows, strict=True)
    ]
    return [row if good else StepRow(*[math.nan] * 8) for good, row in zip(usable, rows, strict=True)]


def folded(row: StepRow) -> StepRow:
    """The same step with p0 = 1: the factor moves into kx, ko and the radius, and without a clamp so do px and po."""
    kx, ko = row.p0 * row.kx, row.p0 * row.ko
    if row.radius == math.inf:
        return row._replace(kx=kx + row.px, ko=ko + row.po, p0=1.0, px=0.0, po=0.0)
    return row._replace(kx=kx, ko=ko, p0=1.0, radius=abs(row.p0) * row.radius)


def _by_row(rows: list[StepRow], batch: Parts) -> Iterator[tuple[StepRow, Parts]]:
    """(row, tensors [n] that share it): the whole batch at once where there is one row, else sample by sample."""
    if len(rows) == 1:
        yield rows[0], [None if t is None else t.reshape(-1) for t in batch]
    else:
        for index, row in enumerate(rows):
            yield row, [None if t is None else t[index] for t in batch]


def _chunks(
    guidance: float, x: Tensor, out: Tensor, uncond: Tensor | None, noise: Tensor | None, y: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor | None, Tensor]]:
    """(x, guided output, noise, y) chunk by chunk, of y's dtype; tensors [n] contiguous."""
    dtype, guided = y.dtype, torch.empty(min(CHUNK, len(x)), dtype=y.dtype)
    pieces = math.ceil(len(x) / CHUNK)
    for x_, o, u, z, y_ in zip(
        *([None] * pieces if t is None else t.split(CHUNK) for t in (x, out, uncond, noise, y)), strict=True
    ):
        x_, o, z = (t if t is None or t.dtype == dtype else t.to(dtype) for t in (x_, o, z))
        if u is not None:
            u, difference = u.to(dtype), guided[: len(o)]
            torch.sub(o, u, out=difference)
            o = torch.add(u, difference, alpha=guidance, out=difference)
        yield x_, o, z, y_


def _combine(y: Tensor, first: tuple[float, Tensor], second: tuple[float, Tensor]) -> None:
    """y = sum of coefficient * tensor. A coefficient of exactly 0 leaves its term out."""
    terms = [term for term in (first, second) if term[0] != 0]
    if not terms:
        y.zero_()
        return
    torch.mul(terms[0][1], terms[0][0], out=y)
    _add(y, *terms[1:])


def _add(y: Tensor, *terms: tuple[float, Tensor | None]) -> None:
    for coefficient, tensor in terms:
        if coefficient != 0 and tensor is not None:
            y.add_(tensor, alpha=coefficient)


def _write_step(row: StepRow, x: Tensor, out: Tensor, uncond: Tensor | None, noise: Tensor | None, y: Tensor) -> None:
    """Writes the step over y, for elements that share a folded row; tensors [n]."""
    for x_, o, z, y_ in _chunks(row.guidance, x, out, uncond, noise, y):
        _combine(y_, (row.ko, o), (row.kx, x_))
        if row.radius != math.inf:
            y_.clamp_(-row.radius, row.radius)
        _add(y_, (row.px, x_), (row.po, o), (row.sigma, z))


def _write_thresholded_step(rows: list[StepRow], threshold: float, batch: Parts) -> None:
    """Writes the step over batch's last tensor, which holds x0 until the quantiles are known; tensors [batch, n]."""
    for row, (x, out, uncond, noise, y) in _by_row(rows, batch):
        for x_, o, _, y_ in _chunks(row.guidance, x, out, uncond, noise, y):
            _combine(y_, (row.ko, o), (row.kx, x_))
    x0 = batch[-1]
    radius = torch.tensor([row.radius for row in rows], dtype=x0.dtype)
    scales = reference.dynamic_radius(quantile_abs(x0, threshold), radius).tolist()
    for estimate, scale, row in zip(x0, scales, rows * len(scales) if len(rows) == 1 else rows, strict=True):
        estimate.clamp_(-scale, scale).mul_(row.p0 / scale)
    for row, (x, out, uncond, noise, y) in _by_row(rows, batch):
        for x_, o, z, y_ in _chunks(row.guidance, x, out, uncond, noise, y):
            _add(y_, (row.px, x_), (row.po, o), (row.sigma, z))


def backward(
    grad: Tensor, x: Tensor, out: Tensor, table: Tensor, step: Tensor, uncond: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to x, out and uncond (empty when there is none), contiguous, each of its tensor's dtype.

    The clamp lets |x0| = r through.
    """
    dtype = reference.working_dtype(x, out, uncond, grad)
    kx, ko, p0, px, po, _, radius, guidance = reference.rows_at(table, step, x, dtype)
    g, o = grad.to(dtype), out.to(dtype)
    if uncond is not None:
        o = uncond.to(dtype) + guidance * (o - uncond.to(dtype))
    x0 = reference.term(kx, x.to(dtype)) + reference.term(ko, o)
    passed = torch.where(x0.abs() <= radius, p0 * g, 0.0)
    grad_x, grad_o = px * g + kx * passed, po * g + ko * passed
    if uncond is None:
        return grad_x.to(x.dtype).contiguous(), grad_o.to(out.dtype).contiguous(), out.new_empty(0)
    grad_out, grad_uncond = guidance * grad_o, grad_o - guidance * grad_o
    grad_x, grad_out, grad_uncond = grad_x.to(x.dtype), grad_out.to(out.dtype), grad_uncond.to(uncond.dtype)
    return grad_x.contiguous(), grad_out.contiguous(), grad_uncond.contiguous()
