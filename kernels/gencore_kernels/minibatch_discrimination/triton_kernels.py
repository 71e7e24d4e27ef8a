"""Triton kernels of minibatch discrimination: forward and first derivative, fused, nothing of N * N in memory.

M is laid out [B, C, N], n contiguous. A program owns block_i rows i of one feature b and streams all j: the sums over
j stay in registers, so there are no atomics, no shuffles across rows, and the same bits every run. k is recomputed in
the derivative.
"""

# ruff: noqa: RUF005 - Triton does not unpack tuples with a star
# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gencore_kernels.minibatch_discrimination.torch_path import to_bcn

MAX_CHANNELS = 32
MINUS_LOG2_E = tl.constexpr(-1.4426950408889634)
BIG = tl.constexpr(8.507059173023462e37)  # 2^126: makes any difference of normal floats at least as large as any weight


@triton.jit
def _rows(pid, N, BLOCK_I: tl.constexpr):
    blocks = tl.cdiv(N, BLOCK_I)
    return pid // blocks, (pid % blocks) * BLOCK_I + tl.arange(0, BLOCK_I)


@triton.jit
def forward_kernel(
    m_ptr, out_ptr, N, B, C: tl.constexpr, INCLUDE_SELF: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr
):
    """m [B, C, N] float32 contiguous -> out [N, B]. The rows beyond N are +inf apart, so their closeness is 0."""
    b, i = _rows(tl.program_id(0), N, BLOCK_I)
    base = m_ptr + b.to(tl.int64) * C * N
    mine = ()
    for c in tl.static_range(C):
        mine = mine + (tl.load(base + c * N + i, mask=i < N, other=0.0),)
    total = tl.zeros((BLOCK_I,), tl.float32)
    for start in tl.range(0, N, BLOCK_J):
        j = start + tl.arange(0, BLOCK_J)
        distance = tl.zeros((BLOCK_J, BLOCK_I), tl.float32)
        for c in tl.static_range(C):
            other = tl.load(base + c * N + j, mask=j < N, other=float("inf"))
            distance += tl.abs(other[:, None] - mine[c][None, :])
        k = tl.math.exp2(distance * MINUS_LOG2_E)
        if not INCLUDE_SELF:
            k = tl.where((j[:, None] < N) & (j[:, None] != i[None, :]), k, 0.0)
        total += tl.sum(k, axis=0)
    tl.store(out_ptr + i.to(tl.int64) * B + b, total.to(out_ptr.dtype.element_ty), mask=i < N)


@triton.jit
def backward_kernel(m_ptr, g_ptr, grad_ptr, N, B, C: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr):
    """m [B, C, N] float32, g [B, N] float32, both contiguous -> grad [B, C, N]: sum_j (g_i + g_j) k_ij sign(m_j - m_i).

    sign(e) w is clamp(e 2^126 sign(g), -|w|, |w|): 0 where e is 0, two instructions cheaper than compare and select,
    and without its spills at C = 16.
    """
    b, i = _rows(tl.program_id(0), N, BLOCK_I)
    base = m_ptr + b.to(tl.int64) * C * N
    g_base = g_ptr + b.to(tl.int64) * N
    mine = ()
    sums = ()
    for c in tl.static_range(C):
        mine = mine + (tl.load(base + c * N + i, mask=i < N, other=0.0),)
        sums = sums + (tl.zeros((BLOCK_I,), tl.float32),)
    g_mine = tl.load(g_base + i, mask=i < N, other=0.0)
    for start in tl.range(0, N, BLOCK_J):
        j = start + tl.arange(0, BLOCK_J)
        g_other = tl.load(g_base + j, mask=j < N, other=0.0)
        distance = tl.zeros((BLOCK_J, BLOCK_I), tl.float32)
        for c in tl.static_range(C):
            other = tl.load(base + c * N + j, mask=j < N, other=float("inf"))
            distance += tl.abs(other[:, None] - mine[c][None, :])
        pair = g_mine[None, :] + g_other[:, None]
        weight = tl.math.exp2(distance * MINUS_LOG2_E) * tl.abs(pair)
        big = tl.where(pair < 0, -BIG, BIG)
        added = ()
        for c in tl.static_range(C):
            other = tl.load(base + c * N + j, mask=j < N, other=0.0)
            signed = (other[:, None] - mine[c][None, :]) * big
            signed = tl.maximum(signed, -weight)
            signed = tl.minimum(signed, weight, propagate_nan=tl.PropagateNan.ALL)
            added = added + (sums[c] + tl.sum(signed, axis=0),)
        sums = added
    for c in tl.static_range(C):
        tl.store(grad_ptr + b.to(tl.int64) * C * N + c * N + i, sums[c].to(grad_ptr.dtype.element_ty), mask=i < N)


def forward_configuration(channels: int) -> dict[str, int]:
    """Pinned block sizes; the ahead-of-time gate holds their registers and instruction counts."""
    block_i, block_j = (256, 16) if channels <= 16 else (128, 4)
    return {"BLOCK_I": block_i, "BLOCK_J": block_j, "num_warps": 4, "num_stages": 2}


def backward_configuration(channels: int) -> dict[str, int]:
    """Pinned block sizes; the ahead-of-time gate holds their registers and instruction counts. On 4 warps 8 and 16
    channels spill with Triton 3.7."""
    block_i, block_j = (256, 8) if channels <= 8 else (128, 8) if channels <= 16 else (128, 2)
    warps = 8 if 8 <= channels <= 16 else 4
    return {"BLOCK_I": block_i, "BLOCK_J": block_j, "num_warps": warps, "num_stages": 1}


def forward(m: Tensor, include_self: bool, configuration: dict[str, int] | None = None) -> Tensor:
    """m [N, B, C] -> o [N, B] of m's dtype, accumulated in float32."""
    n, b, c = m.shape
    out = torch.empty((n, b), dtype=m.dtype, device=m.device)
    if not out.numel():
        return out
    configuration = configuration or forward_configuration(c)
    grid = (triton.cdiv(n, configuration["BLOCK_I"]) * b,)
    forward_kernel[grid](to_bcn(m), out, n, b, C=c, INCLUDE_SELF=include_self, **configuration)
    return out


def backward(grad: Tensor, m: Tensor, configuration: dict[str, int] | None = None) -> Tensor:
    """grad [N, B], m [N, B, C] -> gM [N, B, C] of m's dtype, laid out as [B, C, N]."""
    n, b, c = m.shape
    result = torch.empty((b, c, n), dtype=m.dtype, device=m.device)
    if result.numel():
        configuration = configuration or backward_configuration(c)
        grid = (triton.cdiv(n, configuration["BLOCK_I"]) * b,)
        backward_kernel[grid](to_bcn(m), grad.t().float().contiguous(), result, n, b, C=c, **configuration)
    return result.permute(2, 0, 1)
