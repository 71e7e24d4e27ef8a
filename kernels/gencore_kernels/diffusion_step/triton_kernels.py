"""Triton kernels of the diffusion step: guidance, estimate, clamp, update and noise in one pass over memory; and its
derivative. The quantile of a dynamic threshold is in `quantile_kernels`.

Layout of the noise, see `gencore_kernels.philox`: a sample's n elements are four runs of q, and the counter of an
element is its place in its run. A program takes the same places of all four runs, so that one counter serves four
elements with all its words.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.random import philox

from gencore_kernels.diffusion_step.quantile_kernels import quantile_abs
from gencore_kernels.philox import quarter

NO_NOISE, GIVEN_NOISE, DRAWN_NOISE = 0, 1, 2
NAN = tl.constexpr(float("nan"))


@triton.jit
def _normals(first, second):
    """Two words -> two N(0, 1) by Box and Muller.

    Sine and cosine by polynomials on an eighth of a turn: no table, no slow path.
    """
    uniform = ((first >> 8) + 1).to(tl.int32).to(tl.float32) * 5.9604644775390625e-08
    radius = tl.sqrt(-1.3862943611198906 * tl.math.log2(uniform))
    turn = (second >> 8).to(tl.int32).to(tl.float32) * 5.9604644775390625e-08
    quadrant = (turn * 4.0 + 0.5).to(tl.int32)
    angle = (turn - quadrant.to(tl.float32) * 0.25) * 6.283185307179586
    square = angle * angle
    sine = angle * (1.0 + square * (-0.16666654611 + square * (0.00833216087 + square * -0.00019515296)))
    cosine = 1.0 + square * (-0.5 + square * (0.041666646 + square * (-0.0013887316 + square * 2.443315711809948e-5)))
    swapped = (quadrant & 1) != 0
    sine_turned = tl.where(swapped, cosine, sine)
    cosine_turned = tl.where(swapped, sine, cosine)
    sine_turned = tl.where((quadrant & 2) != 0, -sine_turned, sine_turned)
    cosine_turned = tl.where(((quadrant + 1) & 2) != 0, -cosine_turned, cosine_turned)
    return radius * cosine_turned, radius * sine_turned


@triton.jit
def _row(table_ptr, step_ptr, sample, T, PER_SAMPLE: tl.constexpr):
    """The sample's step, whether it is in the table, and where its row is."""
    step = tl.load(step_ptr + sample) if PER_SAMPLE else tl.load(step_ptr)
    step = step.to(tl.int64)
    inside = (step >= 0) & (step < T)
    return step, inside, table_ptr + tl.where(inside, step, 0) * 8


@triton.jit
def _clamped(x0, radius):
    x0 = tl.maximum(x0, -radius, propagate_nan=tl.PropagateNan.ALL)
    return tl.minimum(x0, radius, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _term(coefficient, value):
    """coefficient * value, and 0 where the coefficient is exactly 0, whatever the value."""
    return tl.where(coefficient == 0, 0.0, coefficient * value)


@triton.jit
def step_kernel(
    x_ptr, out_ptr, uncond_ptr, noise_ptr, y_ptr, table_ptr, step_ptr, seed_ptr, quantile_ptr, T, n, q, blocks,
    GUIDED: tl.constexpr, NOISE: tl.constexpr, PER_SAMPLE: tl.constexpr, THRESHOLD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y [batch, n] from x, out, uncond, noise [batch, n], all contiguous. quantile [batch]: of |x0|, with THRESHOLD."""
    sample = tl.program_id(0) // blocks
    place = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    step, inside, row = _row(table_ptr, step_ptr, sample, T, PER_SAMPLE)
    kx, ko, px, po = tl.load(row), tl.load(row + 1), tl.load(row + 3), tl.load(row + 4)
    p0 = tl.where(inside, tl.load(row + 2), NAN)
    sigma, radius, guidance = tl.load(row + 5), tl.load(row + 6), tl.load(row + 7)
    if THRESHOLD:
        scale = tl.maximum(tl.load(quantile_ptr + sample), 1.0, propagate_nan=tl.PropagateNan.ALL)
        radius = tl.minimum(scale, radius, propagate_nan=tl.PropagateNan.ALL)
        p0 = p0 / radius
    if NOISE == 0:
        p0 = tl.where(sigma == 0, p0, NAN)
    if NOISE == 2:
        counter = place.to(tl.uint32)
        zero = counter * 0
        word0, word1, word2, word3 = philox(tl.load(seed_ptr + sample), counter, zero + step.to(tl.uint32), zero, zero)
        normal0, normal1 = _normals(word0, word1)
        normal2, normal3 = _normals(word2, word3)
        normals = (normal0, normal1, normal2, normal3)
    base = sample.to(tl.int64) * n
    for run in tl.static_range(4):
        element = run * q + place
        ok = (place < q) & (element < n)
        x = tl.load(x_ptr + base + element, mask=ok, other=0.0).to(tl.float32)
        o = tl.load(out_ptr + base + element, mask=ok, other=0.0).to(tl.float32)
        if GUIDED:
            u = tl.load(uncond_ptr + base + element, mask=ok, other=0.0).to(tl.float32)
            o = u + guidance * (o - u)
        x0 = _clamped(_term(kx, x) + _term(ko, o), radius)
        y = _term(p0, x0) + _term(px, x) + _term(po, o)
        if NOISE == 1:
            y += _term(sigma, tl.load(noise_ptr + base + element, mask=ok, other=0.0).to(tl.float32))
        if NOISE == 2:
            y += _term(sigma, normals[run])
        tl.store(y_ptr + base + element, y.to(y_ptr.dtype.element_ty), mask=ok)


@triton.jit
def estimate_kernel(
    x_ptr, out_ptr, uncond_ptr, x0_ptr, table_ptr, step_ptr, T, n, blocks,
    GUIDED: tl.constexpr, PER_SAMPLE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x0 [batch, n] float32, before any clamp: what the quantile of a dynamic threshold is taken of."""
    sample = tl.program_id(0) // blocks
    element = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    _, _, row = _row(table_ptr, step_ptr, sample, T, PER_SAMPLE)
    kx, ko, guidance = tl.load(row), tl.load(row + 1), tl.load(row + 7)
    ok = element < n
    base = sample.to(tl.int64) * n
    x = tl.load(x_ptr + base + element, mask=ok, other=0.0).to(tl.float32)
    o = tl.load(out_ptr + base + element, mask=ok, other=0.0).to(tl.float32)
    if GUIDED:
        u = tl.load(uncond_ptr + base + element, mask=ok, other=0.0).to(tl.float32)
        o = u + guidance * (o - u)
    tl.store(x0_ptr + base + element, _term(kx, x) + _term(ko, o), mask=ok)


@triton.jit
def backward_kernel(
    grad_ptr, x_ptr, out_ptr, uncond_ptr, grad_x_ptr, grad_out_ptr, grad_uncond_ptr, table_ptr, step_ptr, T, n, blocks,
    GUIDED: tl.constexpr, PER_SAMPLE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradients of x, out and uncond from that of y; the clamp's mask is worked out again."""
    sample = tl.program_id(0) // blocks
    element = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    _, inside, row = _row(table_ptr, step_ptr, sample, T, PER_SAMPLE)
    kx, ko, po = tl.load(row), tl.load(row + 1), tl.load(row + 4)
    p0, px = tl.where(inside, tl.load(row + 2), NAN), tl.where(inside, tl.load(row + 3), NAN)
    radius, guidance = tl.load(row + 6), tl.load(row + 7)
    ok = element < n
    base = sample.to(tl.int64) * n
    g = tl.load(grad_ptr + base + element, mask=ok, other=0.0).to(tl.float32)
    x = tl.load(x_ptr + base + element, mask=ok, other=0.0).to(tl.float32)
    o = tl.load(out_ptr + base + element, mask=ok, other=0.0).to(tl.float32)
    if GUIDED:
        u = tl.load(uncond_ptr + base + element, mask=ok, other=0.0).to(tl.float32)
        o = u + guidance * (o - u)
    passed = tl.where(tl.abs(_term(kx, x) + _term(ko, o)) <= radius, p0 * g, 0.0)
    grad_o = po * g + ko * passed
    tl.store(grad_x_ptr + base + element, (px * g + kx * passed).to(grad_x_ptr.dtype.element_ty), mask=ok)
    if GUIDED:
        share = guidance * grad_o
        tl.store(grad_uncond_ptr + base + element, (grad_o - share).to(grad_uncond_ptr.dtype.element_ty), mask=ok)
        grad_o = share
    tl.store(grad_out_ptr + base + element, grad_o.to(grad_out_ptr.dtype.element_ty), mask=ok)


def step_configuration(dtype: torch.dtype) -> dict[str, int]:
    """Pinned block size and warps: 16 bytes a thread and load, in any dtype.

    The ahead-of-time gate holds their cost.
    """
    return {"BLOCK": 512 if dtype == torch.float32 else 1024, "num_warps": 4, "num_stages": 1}


ELEMENTWISE_CONFIGURATION = {"BLOCK": 1024, "num_warps": 4, "num_stages": 1}


def _pointer(tensor: Tensor | None, unused: Tensor) -> Tensor:
    """The tensor made contiguous; where it is None, a pointer that the kernel does not read."""
    return unused if tensor is None else tensor.contiguous()


def diffusion_step(
    x: Tensor,
    out: Tensor,
    table: Tensor,
    step: Tensor,
    uncond: Tensor | None,
    noise: Tensor | None,
    seeds: Tensor | None,
    threshold: float | None,
    configuration: dict[str, int] | None = None,
) -> Tensor:
    """The next sample, contiguous, of x's shape and dtype."""
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if not y.numel():
        return y
    batch, n = len(x), x[0].numel()
    x, out, uncond_, table, step = (
        x.contiguous(),
        out.contiguous(),
        _pointer(uncond, x),
        table.contiguous(),
        step.contiguous(),
    )
    fixed = {"GUIDED": uncond is not None, "PER_SAMPLE": step.dim() == 1}
    quantile = table
    if threshold is not None:
        x0 = torch.empty((batch, n), dtype=torch.float32, device=x.device)
        blocks = triton.cdiv(n, ELEMENTWISE_CONFIGURATION["BLOCK"])
        estimate_kernel[(batch * blocks,)](
            x, out, uncond_, x0, table, step, len(table), n, blocks, **fixed, **ELEMENTWISE_CONFIGURATION
        )
        quantile = quantile_abs(x0, threshold)
    mode = GIVEN_NOISE if noise is not None else DRAWN_NOISE if seeds is not None else NO_NOISE
    launch = configuration or step_configuration(x.dtype)
    q = quarter(n)
    blocks = triton.cdiv(q, launch["BLOCK"])
    step_kernel[(batch * blocks,)](
        x, out, uncond_, _pointer(noise, x), y, table, step, _pointer(seeds, step), quantile, len(table), n, q, blocks,
        **fixed, NOISE=mode, THRESHOLD=threshold is not None, **launch,
    )  # fmt: skip
    return y


def backward(
    grad: Tensor, x: Tensor, out: Tensor, table: Tensor, step: Tensor, uncond: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to x, out and uncond (empty when there is none), contiguous, each of its tensor's dtype."""
    grads = [torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (x, out)]
    grads.append(
        out.new_empty(0) if uncond is None else torch.empty(uncond.shape, dtype=uncond.dtype, device=uncond.device)
    )
    if x.numel():
        batch, n = len(x), x[0].numel()
        blocks = triton.cdiv(n, ELEMENTWISE_CONFIGURATION["BLOCK"])
        backward_kernel[(batch * blocks,)](
            grad.contiguous(), x.contiguous(), out.contiguous(), _pointer(uncond, x), *grads, table.contiguous(),
            step.contiguous(), len(table), n, blocks,
            GUIDED=uncond is not None, PER_SAMPLE=step.dim() == 1, **ELEMENTWISE_CONFIGURATION,
        )  # fmt: skip
    return grads[0], grads[1], grads[2]
