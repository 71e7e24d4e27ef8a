"""A diffusion step on the CPU as one pass of C++ (step.cpp); with a dynamic threshold there is a pass more, which
computes x0 for its quantile."""

from __future__ import annotations

from torch import Tensor

from gencore_kernels import cpp
from gencore_kernels.diffusion_step import reference, torch_path
from gencore_kernels.diffusion_step.table import StepRow
from gencore_kernels.philox import philox_normal

RADIUS, SCALE = StepRow._fields.index("radius"), len(StepRow._fields)
GRAIN = 1 << 17  # elements below which another thread costs more than it saves


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
    result = x.new_empty(x.shape)
    if not result.numel():
        return result
    if noise is None and seeds is not None:
        noise = philox_normal(seeds, step, tuple(x.shape[1:]))
    rows = [(*row, 1.0) for row in torch_path.rows_at(table, step, noise is not None)]
    # out stands for the noise where no row asks for any, which then counts for nothing.
    tensors = [None if t is None else t.contiguous() for t in (x, out, uncond, out if noise is None else noise)]
    if threshold is None:
        _pass("diffusion_step", tensors, result, x.new_tensor(rows))
        return result
    numbers = x.new_tensor(rows).repeat(len(x) // len(rows), 1)
    _pass("diffusion_estimate", tensors, result, numbers)
    numbers[:, SCALE] = reference.dynamic_radius(quantile_abs(result, threshold), numbers[:, RADIUS])
    numbers[:, RADIUS] = numbers[:, SCALE]
    _pass("diffusion_step", tensors, result, numbers)
    return result


def quantile_abs(x: Tensor, p: float) -> Tensor:
    """x [batch, ...] -> [batch], exact; float32 on the CPU."""
    return torch_path.quantile_abs(x.contiguous(), p, _select)


def _select(x: Tensor, below: int) -> tuple[Tensor, Tensor]:
    batch, n = x.shape
    low, high = x.new_empty(batch), x.new_empty(batch)
    cpp.run("order_statistics", x, low, high, below, n, units=batch, grain=max(1, GRAIN // (8 * n)))
    return low, high


def _pass(name: str, tensors: list[Tensor | None], result: Tensor, rows: Tensor) -> None:
    """One of step.cpp's functions, on contiguous tensors; `rows` has one for all samples or one for each."""
    cpp.run(name, *tensors, result, rows, result.numel() // len(rows), units=result.numel(), grain=GRAIN)
