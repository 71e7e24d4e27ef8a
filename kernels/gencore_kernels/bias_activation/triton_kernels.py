"""Triton kernels of bias, activation, gain and clamp: one pass over memory, u = x + bias recomputed in the derivatives.

A tensor is seen as [rows, columns] with the bias constant along a row (pixels of one channel) or, where the biased
dimension is the last, along a column. One kernel serves orders 0 (the value), 1 and 2 (the derivatives).
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gencore_kernels.bias_activation.torch_path import SELU_ALPHA, SELU_SCALE

ALPHA, SCALE = tl.constexpr(SELU_ALPHA), tl.constexpr(SELU_SCALE)
SMALL_ROW = 512
MAX_COLUMNS = 1 << 30  # a column is a 32-bit number


@triton.jit
def _expm1(u):
    """exp(u) - 1 without the cancellation near 0, where five terms of the series are exact to float32."""
    series = u * (1.0 + u * (0.5 + u * (1.0 / 6 + u * (1.0 / 24 + u * (1.0 / 120 + u * (1.0 / 720))))))
    return tl.where(tl.abs(u) < 0.25, series, tl.exp(u) - 1.0)


@triton.jit
def _tanh(u):
    m = _expm1(-2.0 * tl.abs(u))
    size = -m / (m + 2.0)
    return tl.where(u < 0, -size, size)


@triton.jit
def _log1p(e):
    """log(1 + e): the quotient makes up for what 1 + e rounds away."""
    w = 1.0 + e
    return tl.where(w == 1.0, e, tl.log(w) * (e / tl.where(w == 1.0, 1.0, w - 1.0)))


@triton.jit
def _derivative_of(u, s, ACTIVATION: tl.constexpr, ORDER: tl.constexpr):
    """The ORDER-th derivative at u; s: the slope below 0, 0 for relu, whose value at -inf is 0 nevertheless."""
    if ACTIVATION == "linear":
        result = u if ORDER == 0 else tl.full(u.shape, 1.0, tl.float32)
    elif ACTIVATION == "relu" and ORDER == 0:
        result = tl.where(u <= 0, 0.0, u)
    elif ACTIVATION == "relu" or ACTIVATION == "leaky_relu":
        result = tl.where(u > 0, u, s * u) if ORDER == 0 else tl.where(u > 0, 1.0, s)
    elif ACTIVATION == "elu" or ACTIVATION == "selu":
        down = tl.where(u > 0, 0.0, u)
        if ORDER == 0:
            below = _expm1(down)
            above = u
        else:
            below = tl.exp(down)
            above = tl.full(u.shape, 1.0, tl.float32)
            if ORDER == 2:  # at the bend, as in torch, 0
                below = tl.where(u < 0, below, 0.0)
                above = tl.zeros(u.shape, tl.float32)
        if ACTIVATION == "elu":
            result = tl.where(u > 0, above, below)
        else:
            result = SCALE * tl.where(u > 0, above, ALPHA * below)
    elif ACTIVATION == "tanh":
        t = _tanh(u)
        if ORDER == 0:
            result = t
        elif ORDER == 1:
            result = 1.0 - t * t
        else:
            result = -2.0 * t * (1.0 - t * t)
    else:
        # Of the two halves of the sigmoid the smaller comes from exp(-|u|), so that neither cancels.
        e = tl.exp(-tl.abs(u))
        up = tl.where(u < 0, e, 1.0) / (1.0 + e)
        down = tl.where(u < 0, 1.0, e) / (1.0 + e)
        if ACTIVATION == "sigmoid":
            result = up if ORDER == 0 else up * down if ORDER == 1 else up * down * (down - up)
        elif ACTIVATION == "softplus":
            if ORDER == 0:
                result = tl.where(u < 0, 0.0, u) + _log1p(e)
            else:
                result = up if ORDER == 1 else up * down
        else:
            if ORDER == 0:
                result = u * up
            elif ORDER == 1:
                result = up * (1.0 + u * down)
            else:
                result = up * down * (2.0 + u * (down - up))
    return result


@triton.jit
def bias_activation_kernel(
    x_ptr, bias_ptr, grad_ptr, v_ptr, out_ptr, rows, columns, channels, slope, gain, limit,
    ACTIVATION: tl.constexpr, ORDER: tl.constexpr, BIAS: tl.constexpr, CLAMP: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """x, grad (ORDER 1 and 2), v (ORDER 2) [rows, columns] contiguous -> out, of the same layout.

    BIAS: "none", "rows" (of row r: bias[r % channels]) or "columns" (bias[column]).
    """
    tiles = tl.cdiv(columns, COLUMNS)
    row = (tl.program_id(0) // tiles) * ROWS + tl.arange(0, ROWS)
    column = (tl.program_id(0) % tiles) * COLUMNS + tl.arange(0, COLUMNS)
    ok = (row < rows)[:, None] & (column < columns)[None, :]
    at = (row.to(tl.int64) * columns)[:, None] + column[None, :]
    u = tl.load(x_ptr + at, mask=ok, other=0.0).to(tl.float32)
    if BIAS == "rows":
        u += tl.load(bias_ptr + row % channels, mask=row < rows, other=0.0).to(tl.float32)[:, None]
    elif BIAS == "columns":
        u += tl.load(bias_ptr + column, mask=column < columns, other=0.0).to(tl.float32)[None, :]
    result = _derivative_of(u, slope, ACTIVATION, ORDER) * gain
    if ORDER > 0:
        result *= tl.load(grad_ptr + at, mask=ok, other=0.0).to(tl.float32)
        if ORDER > 1:
            result *= tl.load(v_ptr + at, mask=ok, other=0.0).to(tl.float32)
        if CLAMP:
            value = _derivative_of(u, slope, ACTIVATION, 0) * gain
            result = tl.where(tl.abs(value) > limit, 0.0, result)
    elif CLAMP:
        result = tl.where(result > limit, limit, tl.where(result < -limit, -limit, result))
    tl.store(out_ptr + at, result.to(out_ptr.dtype.element_ty), mask=ok)


def configuration(columns: int) -> dict[str, int]:
    """Pinned tile and warps; the ahead-of-time gate holds their registers and instruction counts."""
    rows, width = (16, 64) if columns <= SMALL_ROW else (1, 1024)
    return {"ROWS": rows, "COLUMNS": width, "num_warps": 4, "num_stages": 1}


def forward(x: Tensor, bias: Tensor | None, dim: int, *settings: Any) -> Tensor:
    return _launch(0, x, x, x, bias, dim, *settings)


def derivative(grad: Tensor, x: Tensor, bias: Tensor | None, dim: int, *settings: Any) -> Tensor:
    return _launch(1, x, grad.contiguous(), x, bias, dim, *settings)


def curvature(
    v: Tensor, grad: Tensor, x: Tensor, bias: Tensor | None, dim: int, activation: str, gain: float, clamp: float | None
) -> Tensor:
    return _launch(2, x, grad.contiguous(), v.contiguous(), bias, dim, activation, 0.0, gain, clamp)


def _launch(
    order: int, x: Tensor, grad: Tensor, v: Tensor, bias: Tensor | None, dim: int,
    activation: str, negative_slope: float, gain: float, clamp: float | None,
) -> Tensor:  # fmt: skip
    x = x.contiguous()
    out = torch.empty_like(x)
    if not x.numel():
        return out
    layout = _layout(x, bias, dim)
    launch = configuration(layout["columns"])
    grid = (triton.cdiv(layout["rows"], launch["ROWS"]) * triton.cdiv(layout["columns"], launch["COLUMNS"]),)
    bias_activation_kernel[grid](
        x, x if bias is None else bias.contiguous(), grad, v, out, **layout,
        slope=negative_slope, gain=gain, limit=0.0 if clamp is None else clamp,
        ACTIVATION=activation, ORDER=order, CLAMP=clamp is not None, **launch,
    )  # fmt: skip
    return out


def _layout(x: Tensor, bias: Tensor | None, dim: int) -> Mapping[str, Any]:
    """rows, columns, channels and BIAS of the kernel for a tensor with a bias along dim."""
    if bias is None:
        columns = x.numel() if x.numel() < MAX_COLUMNS else math.gcd(x.numel(), 1024)
        return {"rows": x.numel() // columns, "columns": columns, "channels": 1, "BIAS": "none"}
    inner, channels = math.prod(x.shape[dim + 1 :]), x.shape[dim]
    along_columns = inner == 1
    columns = channels if along_columns else inner
    bias_of = "columns" if along_columns else "rows"
    return {"rows": x.numel() // columns, "columns": columns, "channels": channels, "BIAS": bias_of}
