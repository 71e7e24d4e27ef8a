"""`upfirdn2d`, its two everyday forms, its dispatch and its torch.library operation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gencore_kernels.dispatch import Backend, Operation, choose, register, triton_obstacle
from gencore_kernels.library import define_operation
from gencore_kernels.upfirdn2d import reference, torch_path
from gencore_kernels.upfirdn2d.filters import output_size


def _obstacle(implementation: str, x: Tensor, *args: object, **kwargs: object) -> str | None:
    return triton_obstacle([x]) if implementation == "triton" else None


OPERATION = register(Operation(name="upfirdn2d", gradient_order=2, obstacle=_obstacle))


def upfirdn2d(
    x: Tensor,
    f: Tensor,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    *,
    flip: bool = False,
    gain: float = 1.0,
    backend: Backend = "auto",
) -> Tensor:
    """Upsamples by inserting zeros, pads, filters, downsamples: the resampling of StyleGAN2's layers.

    Karras et al. 2020, arXiv:1912.04958; arXiv:2006.06676, appendix. In one dimension, with u[m] = x[m / up] where up
    divides m and 0 elsewhere, and 0 outside the image: y[o] = gain sum_k f[k] u[o down - left + n - 1 - k].

    x: [N, C, H, W], floating, any strides (copied if not contiguous); N and C may be 0.
    f: [fh, fw], or [n] for the separable filter f f^T; floating, on x's device, made by `setup_filter` or by hand. It
        is a constant: one that requires a gradient is refused. Short filters take one pass, long separable ones two.
    up, down: at least 1; one number, or (vertical, horizontal). A sample is followed by up - 1 zeros.
    padding: zeros added after the upsampling, in its pixels; one number, or (left, right, top, bottom), as
        torch.nn.functional.pad has them. A negative number crops.
    flip: False convolves; True correlates, that is, does not turn the filter round.
    gain: multiplies the result; up ** 2 keeps the brightness of an upsampled image.
    backend: "auto", "reference", "torch" or "triton"; the triton kernel takes float16, bfloat16 and float32.
    Returns [N, C, (H up + top + bottom - fh) // down + 1, (W up + left + right - fw) // down + 1], contiguous, of x's
    dtype; 16-bit images are filtered in float32.
    Gradients: to x, of any order: the derivative of a resampling is one.
    A NaN or an infinity in x reaches the outputs whose filter covers it and no others.
    Raises ValueError if x is not a floating [N, C, H, W] with a pixel, f not a floating constant of one or two
    dimensions on x's device, up, down or padding not as above, gain not finite, if the padding crops the whole image or
    the padded image is smaller than the filter, or if the backend is unknown or cannot run.
    """
    _check_tensors(x, f)
    ups, downs = _pair("up", up), _pair("down", down)
    edges = _edges(padding)
    _check_sizes(x, f, ups, edges)
    if not math.isfinite(gain):
        raise ValueError(f"gain must be finite, got {gain}")
    implementation = choose(OPERATION, backend, x, f, up, down, padding, flip=flip, gain=gain).implementation
    if implementation == "reference":
        return reference.upfirdn2d(x, f, ups, downs, edges, flip, gain)
    return _op(x, f, ups, downs, edges, flip, float(gain), implementation)


def upsample2d(x: Tensor, f: Tensor, factor: int = 2, *, gain: float = 1.0, backend: Backend = "auto") -> Tensor:
    """x [N, C, H, W] -> [N, C, H factor, W factor], filtered with f [n] or [fh, fw] centred on the pixels; a constant
    image keeps its value inside where f sums to 1. gain multiplies the result. Errors and gradients: `upfirdn2d`."""
    _check_tensors(x, f)
    height, width = f.shape[0], f.shape[-1]
    padding = [edge for n in (width, height) for edge in ((n + factor - 1) // 2, (n - factor) // 2)]
    return upfirdn2d(x, f, factor, 1, padding, gain=gain * factor**2, backend=backend)


def downsample2d(x: Tensor, f: Tensor, factor: int = 2, *, gain: float = 1.0, backend: Backend = "auto") -> Tensor:
    """x [N, C, H, W] -> [N, C, H / factor, W / factor], rounded down, filtered with f [n] or [fh, fw] centred on the
    pixels before every factor-th is kept. gain multiplies the result. Errors and gradients: `upfirdn2d`."""
    _check_tensors(x, f)
    height, width = f.shape[0], f.shape[-1]
    padding = [edge for n in (width, height) for edge in ((n - factor + 1) // 2, (n - factor) // 2)]
    return upfirdn2d(x, f, 1, factor, padding, gain=gain, backend=backend)


def _check_tensors(x: Tensor, f: Tensor) -> None:
    if x.dim() != 4 or not x.is_floating_point() or 0 in x.shape[2:]:
        raise ValueError(
            f"x must be a floating tensor [N, C, H, W] with a pixel at least, got {x.dtype} {tuple(x.shape)}"
        )
    if f.dim() not in (1, 2) or not f.is_floating_point() or not f.numel():
        raise ValueError(
            f"f must be a floating tensor [n] or [fh, fw], got {f.dtype} {tuple(f.shape)}: setup_filter makes one"
        )
    if f.device != x.device:
        raise ValueError(f"f is on {f.device} and x on {x.device}: move f with f.to(x.device)")
    if f.requires_grad:
        raise ValueError("f requires a gradient, and upfirdn2d takes the filter as a constant: pass f.detach()")


def _pair(name: str, value: int | Sequence[int]) -> list[int]:
    pair = list(value) if isinstance(value, Sequence) else [value, value]
    if len(pair) != 2 or not all(isinstance(number, int) and number >= 1 for number in pair):
        raise ValueError(f"{name} must be a whole number of at least 1, or two (vertical, horizontal), got {value}")
    return pair


def _edges(padding: int | Sequence[int]) -> list[int]:
    edges = list(padding) if isinstance(padding, Sequence) else [padding] * 4
    if len(edges) != 4 or not all(isinstance(edge, int | torch.SymInt) for edge in edges):
        raise ValueError(f"padding must be a whole number, or four (left, right, top, bottom), got {padding}")
    return edges


def _check_sizes(x: Tensor, f: Tensor, up: Sequence[int], edges: Sequence[int]) -> None:
    for axis, before, after in ((0, edges[2], edges[3]), (1, edges[0], edges[1])):
        inserted, taps = x.shape[2 + axis] * up[axis], f.shape[axis if f.dim() == 2 else 0]
        name = ("height", "width")[axis]
        if inserted + min(before, 0) + min(after, 0) < 1:
            raise ValueError(f"padding {before}, {after} crops the whole {name} of {inserted}: crop less")
        if inserted + before + after < taps:
            raise ValueError(
                f"the padded {name} {inserted + before + after} is smaller than the filter's {taps} taps: pad by "
                f"{taps - inserted - before - after} more"
            )


def _forward(
    x: Tensor, f: Tensor, up: list[int], down: list[int], padding: list[int], flip: bool, gain: float,
    implementation: str,
) -> Tensor:  # fmt: skip
    if implementation == "triton":
        from gencore_kernels.upfirdn2d import triton_kernels

        return triton_kernels.forward(x, f, up, down, padding, flip, gain)
    return torch_path.forward(x, f, up, down, padding, flip, gain)


def _forward_fake(
    x: Tensor, f: Tensor, up: list[int], down: list[int], padding: list[int], flip: bool, gain: float,
    implementation: str,
) -> Tensor:  # fmt: skip
    return x.new_empty(*x.shape[:2], *output_size(x.shape[2:], (f.shape[0], f.shape[-1]), up, down, padding))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, f, *ctx.settings = inputs
    ctx.shape = x.shape
    ctx.save_for_backward(f)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The transpose: up and down change places, the filter is turned round, and the padding lets the k-th tap of
    output o meet the pixel that it was read from."""
    (f,) = ctx.saved_tensors
    up, down, padding, flip, gain, implementation = ctx.settings
    transposed: list[int] = []
    for axis in (1, 0):
        taps, before = f.shape[axis if f.dim() == 2 else 0], padding[2 * (1 - axis)]
        size, out = ctx.shape[2 + axis], grad.shape[2 + axis]
        transposed += [taps - 1 - before, size * up[axis] - out * down[axis] + before - up[axis] + 1]
    return _op(grad, f, down, up, transposed, not flip, gain, implementation), *[None] * 7


_op = define_operation(
    "upfirdn2d(Tensor x, Tensor f, int[] up, int[] down, SymInt[] padding, bool flip, float gain, str implementation)"
    " -> Tensor",
    _forward,
    _forward_fake,
    setup_context=_save,
    backward=_differentiate,
)
