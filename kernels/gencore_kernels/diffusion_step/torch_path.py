"""A diffusion step in plain PyTorch. On the CPU it works piece by piece, in as few passes over a piece as torch has
operations for:

    clamped     y = s clamp(kx x + ko o, +-r) + px x + po o + sigma z = clamp(s kx x + s ko o, +-|s| r) + ...   s = p0
                y = x0 + px (x - x0) + sigma z,   x0 = clamp(kx x + ko o, +-r)   where p0 + px = 1 and po = 0
    otherwise   y = (p0 kx + px) x + (p0 ko + po) o + sigma z

A pass is a product, a sum with one factor, an interpolation (lerp) or a clamp, so that a factor of 1, or factors that
sum to 1, save a pass. A coefficient of exactly 0 leaves its term out. Elsewhere (a GPU without Triton, or under
torch.compile, which fuses it) the step is the reference's formula. The derivative is the same on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from gencore_kernels.diffusion_step import reference
from gencore_kernels.diffusion_step.table import StepRow
from gencore_kernels.philox import philox_normal

# Elements of a piece. Five such tensors fill 20 MB of cache; smaller pieces fit nearer caches, but what Python does
# between operations runs slower still (measured for 786 thousand elements: 1 << 17 takes 1.2 to 1.5 times as long).
CHUNK = 1 << 20
# Elements among which order statistics are selected at a time.
SELECTION = 1 << 18

Pieces = list[Any]  # x, out, uncond or None, noise or None, y
Term = tuple[float, Tensor | None]
Select = Callable[[Tensor, int], tuple[Tensor, Tensor]]  # as _select


def quantile_abs(x: Tensor, p: float, select: Select | None = None) -> Tensor:
    """x [batch, ...] floating -> [batch], exact.

    On the CPU numpy selects, with vector instructions and on one thread, a few samples at a time, so that |x| stays in
    cache (measured: 5x faster than torch.topk, 90x faster than torch.quantile; on AMD's Zen 4, slow at the instructions
    that numpy takes, half as fast as torch.topk); elsewhere torch.topk does.
    """
    flat = x.flatten(1)
    position = p * (flat.shape[1] - 1)
    below = math.floor(position)
    if below + 1 == flat.shape[1]:
        return flat.abs().amax(dim=1)
    select = select or (_select_on_cpu if x.device.type == "cpu" else _select)
    low, high = select(flat, below)
    return torch.where(low == high, low, low + (high - low) * (position - below))  # inf - inf would be NaN


def _select_on_cpu(x: Tensor, below: int) -> tuple[Tensor, Tensor]:
    """Order statistics `below` and `below + 1` (from 0) of |x| (batch, n), each (batch,). NaN is the largest, and
    makes the second NaN wherever it stands."""
    batch, n = x.shape
    low, high = x.new_empty(batch), x.new_empty(batch)
    rows = max(1, SELECTION // n)
    magnitude = x.new_empty(min(rows, batch), n)
    for start in range(0, batch, rows):
        block = x[start : start + rows]
        ordered = magnitude[: len(block)]
        torch.abs(block, out=ordered)
        ordered.numpy().partition(below, axis=1)
        low[start : start + rows] = ordered[:, below]
        torch.amin(ordered[:, below + 1 :], dim=1, out=high[start : start + rows])
    return low, high


def _select(x: Tensor, below: int) -> tuple[Tensor, Tensor]:
    """As `_select_on_cpu`, by partial sorting from the nearer end."""
    n, magnitude = x.shape[1], x.abs()
    if 2 * below >= n:  # the top holds the n - below largest, so its smallest is order statistic `below`
        top = magnitude.topk(n - below, dim=1, sorted=False).values
        low, high = top.topk(2, dim=1, largest=False).values.unbind(dim=1)
    else:
        bottom = magnitude.topk(below + 2, dim=1, largest=False, sorted=False).values
        high, low = bottom.topk(2, dim=1).values.unbind(dim=1)
    return low, torch.where(magnitude.amax(dim=1).isnan(), math.nan, high)


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
    batch: Pieces = [None if t is None else t.contiguous() for t in (x, out, uncond, noise, result)]
    rows = rows_at(table, step, noise is not None)
    largest = CHUNK if threshold is None else max(CHUNK, x[0].numel())
    guided = None if uncond is None else torch.empty(min(largest, x.numel()), dtype=dtype)
    for row, (x_, o, u, z, y) in _pieces(rows, batch, threshold is not None):
        x_, o, z = (t if t is None or t.dtype == dtype else t.to(dtype) for t in (x_, o, z))
        if guided is not None:
            o = _guide(o, u.to(dtype), row.guidance, guided[: o.numel()].view(o.shape))
        if y.dtype == dtype:
            _write_step(row, threshold, x_, o, z, y)
        else:
            work = torch.empty(y.shape, dtype=dtype)
            _write_step(row, threshold, x_, o, z, work)
            y.copy_(work)
    return result


def rows_at(table: Tensor, step: Tensor, has_noise: bool) -> list[StepRow]:
    """The row of each step, or one row for all; all NaN where the step is outside the table, or noise is due and there
    is none."""
    if not step.dim():
        return [_row_at(table, int(step), has_noise)]
    places = step.tolist()
    found = {place: _row_at(table, place, has_noise) for place in set(places)}
    return [found[place] for place in (places if len(found) > 1 else places[:1])]


def _row_at(table: Tensor, place: int, has_noise: bool) -> StepRow:
    row = StepRow(*table[place].tolist()) if 0 <= place < len(table) else StepRow(*[math.nan] * 8)
    return row if has_noise or row.sigma == 0 else StepRow(*[math.nan] * 8)


def _pieces(rows: list[StepRow], batch: Pieces, whole_samples: bool) -> Iterator[tuple[StepRow, Pieces]]:
    """(row, pieces that share it) of contiguous tensors [batch, ...]: [samples, n] for whole samples, else flat."""
    if len(rows) > 1:
        for index, row in enumerate(rows):
            yield from _pieces([row], [None if t is None else t[index : index + 1] for t in batch], whole_samples)
        return
    if whole_samples:
        batch = [None if t is None else t.flatten(1) for t in batch]
        size = max(1, CHUNK // batch[0].shape[1])
    elif batch[0].numel() <= CHUNK:
        yield rows[0], batch
        return
    else:
        batch = [None if t is None else t.view(-1) for t in batch]
        size = CHUNK
    count = math.ceil(len(batch[0]) / size)
    for pieces in zip(*([None] * count if t is None else t.split(size) for t in batch), strict=True):
        yield rows[0], list(pieces)


def _guide(out: Tensor, uncond: Tensor, guidance: float, result: Tensor) -> Tensor:
    """uncond + guidance (out - uncond), written over result."""
    if abs(1 - guidance) >= 0.5:  # where lerp starts from its second tensor: this formula, its infinities included
        return torch.lerp(out, uncond, 1 - guidance, out=result)
    torch.sub(out, uncond, out=result)
    return torch.add(uncond, result, alpha=guidance, out=result)


def _write_step(row: StepRow, threshold: float | None, x: Tensor, out: Tensor, noise: Tensor | None, y: Tensor) -> None:
    """Writes the step over y, for elements that share a row; with a threshold the tensors are [samples, n]."""
    kx, ko, p0, px, po, sigma, radius, _ = row
    if threshold is None and radius == math.inf:
        _combine(y, (p0 * ko + po, out), (p0 * kx + px, x), (sigma, noise))
        return
    mixed = p0 != 0 and px != 0 and po == 0 and _sum_to_one(y, p0, px)
    factor = 1.0 if mixed else p0
    if factor == 0:
        y.zero_()
    elif threshold is None:
        _sum(y, (factor * ko, out), (factor * kx, x))
        y.clamp_(-abs(factor) * radius, abs(factor) * radius)
    else:
        _sum(y, (ko, out), (kx, x))
        scale = reference.dynamic_radius(quantile_abs(y, threshold), torch.tensor(radius, dtype=y.dtype))
        y.mul_((factor / scale)[:, None]).clamp_(-abs(factor), abs(factor))
    if mixed:
        y.lerp_(x, px)
        _add(y, (sigma, noise))
    else:
        _add(y, (px, x), (po, out), (sigma, noise))


def _sum_to_one(y: Tensor, *numbers: float) -> bool:
    """Whether they do in a table's precision, float32: 1 - r and r, each rounded, need not sum to 1 exactly."""
    slack = 0.0 if y.dtype == torch.float64 else len(numbers) * 2**-24
    return abs(sum(numbers) - 1) <= slack


def _combine(y: Tensor, *terms: Term) -> None:
    """`_sum` for what is not clamped: infinities may come out as NaN. Interpolates where the coefficients sum to 1."""
    present = [(number, tensor) for number, tensor in terms if number != 0 and tensor is not None]
    numbers = [number for number, _ in present]
    if len(present) == 2 and _sum_to_one(y, *numbers):
        torch.lerp(present[0][1], present[1][1], numbers[1], out=y)
    elif len(present) == 3 and _sum_to_one(y, *numbers) and numbers[2] != 1:
        torch.lerp(present[0][1], present[1][1], numbers[1] / (1 - numbers[2]), out=y)
        y.lerp_(present[2][1], numbers[2])
    else:
        _sum(y, *present)


def _sum(y: Tensor, *terms: Term) -> None:
    """y = sum of coefficient * tensor, those of coefficient 1 first: adding to one of them saves a pass."""
    present = [(number, tensor) for number, tensor in terms if number != 0 and tensor is not None]
    present.sort(key=lambda term: not _sum_to_one(y, term[0]))
    if not present:
        y.zero_()
    elif len(present) == 1 or not _sum_to_one(y, present[0][0]):
        torch.mul(present[0][1], present[0][0], out=y)
        _add(y, *present[1:])
    else:
        torch.add(present[0][1], present[1][1], alpha=present[1][0], out=y)
        _add(y, *present[2:])


def _add(y: Tensor, *terms: Term) -> None:
    """y += sum of coefficient * tensor. A coefficient of exactly 0 leaves its term out."""
    for number, tensor in terms:
        if number != 0 and tensor is not None:
            y.add_(tensor, alpha=number)


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
