"""`bias_activation`: the public function, its dispatch and its torch.library operations."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, Literal, NoReturn, get_args

import torch
from torch import Tensor

from gencore_kernels.bias_activation import reference, torch_path
from gencore_kernels.dispatch import Backend, Operation, choose, register, triton_obstacle
from gencore_kernels.library import define_operation

Activation = Literal["linear", "relu", "leaky_relu", "tanh", "sigmoid", "elu", "selu", "softplus", "silu"]
ROOT_TWO_ACTIVATIONS = ("relu", "leaky_relu", "silu")


def _obstacle(implementation: str, x: Tensor, bias: Tensor | None = None, **kwargs: object) -> str | None:
    return triton_obstacle([x, bias]) if implementation == "triton" else None


OPERATION = register(Operation(name="bias_activation", gradient_order=2, obstacle=_obstacle))


def bias_activation(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    dim: int = 1,
    activation: Activation = "leaky_relu",
    negative_slope: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """clamp(gain a(x + bias), -clamp, clamp), in one pass: what follows every convolution of StyleGAN2.

    Karras et al. 2020, arXiv:1912.04958; the clamp, for 16-bit layers: arXiv:2006.06676.

    x: floating, at least one dimension, any strides (copied if not contiguous).
    bias: [x.shape[dim]], floating, on x's device, added along dim; its dtype may differ from x's. None adds nothing.
    activation: "linear", "relu", "leaky_relu", "tanh", "sigmoid", "elu", "selu", "softplus" or "silu".
    negative_slope: of leaky_relu below 0; 0.2 unless given, and refused with another activation.
    gain: multiplies the activation; unless given, sqrt(2) for relu, leaky_relu and silu, which keeps the mean square of
        a layer's output near that of its input, and 1 for the others.
    clamp: the largest magnitude of the result, positive; None does not clamp.
    backend: "auto", "reference", "torch" or "triton"; the triton kernel takes float16, bfloat16 and float32.
    Returns a contiguous tensor of x's shape and dtype; 16-bit tensors are computed in float32 and rounded once.
    Gradients: to x and to the bias, of first and second order; linear, relu and leaky_relu of any order, the others
    raise RuntimeError for a third, except with "reference". At a bend the derivative is that from below, as in torch;
    clamped values have derivative 0. NaN stays NaN.
    Raises ValueError if x or bias is not floating or of a wrong shape or device, if dim or activation is unknown, if
    clamp is not positive, if negative_slope or gain is not finite, or if the backend is unknown or cannot run.
    """
    dim = _checked_dim(x, bias, dim)
    if activation not in get_args(Activation):
        raise ValueError(f"activation is {activation!r}; expected one of {', '.join(map(repr, get_args(Activation)))}")
    slope, gain = _checked_numbers(activation, negative_slope, gain, clamp)
    implementation = choose(OPERATION, backend, x, bias).implementation
    if implementation == "reference":
        return reference.bias_activation(x, bias, dim, activation, slope, gain, clamp)
    return _forward_op(x, bias, dim, activation, slope, gain, clamp, implementation)


def _checked_dim(x: Tensor, bias: Tensor | None, dim: int) -> int:
    if not x.is_floating_point() or not x.dim():
        raise ValueError(f"x must be a floating tensor of one dimension or more, got {x.dtype} {tuple(x.shape)}")
    if bias is None:
        return 0
    if not -x.dim() <= dim < x.dim():
        raise ValueError(f"dim {dim} is none of x's {x.dim()} dimensions: choose one from {-x.dim()} to {x.dim() - 1}")
    dim %= x.dim()
    if not bias.is_floating_point() or bias.shape != x.shape[dim : dim + 1]:
        raise ValueError(
            f"bias must be a floating tensor [{x.shape[dim]}], the size of x's dimension {dim}, got {bias.dtype} "
            f"{tuple(bias.shape)}"
        )
    if bias.device != x.device:
        raise ValueError(f"bias is on {bias.device} and x on {x.device}: move one of them")
    return dim


def _checked_numbers(
    activation: str, negative_slope: float | None, gain: float | None, clamp: float | None
) -> tuple[float, float]:
    """(slope below 0, gain), with the defaults filled in."""
    if negative_slope is not None and activation != "leaky_relu":
        raise ValueError(f"negative_slope is {negative_slope}, but {activation!r} has none: leave it out")
    if clamp is not None and not clamp > 0:
        raise ValueError(f"clamp must be positive, got {clamp}: None does not clamp")
    if negative_slope is None:
        negative_slope = 0.2 if activation == "leaky_relu" else 0.0
    if gain is None:
        gain = math.sqrt(2.0) if activation in ROOT_TWO_ACTIVATIONS else 1.0
    if not (math.isfinite(negative_slope) and math.isfinite(gain)):
        raise ValueError(f"negative_slope and gain must be finite, got {negative_slope} and {gain}")
    return float(negative_slope), float(gain)


def _path(implementation: str) -> ModuleType:
    if implementation == "triton":
        from gencore_kernels.bias_activation import triton_kernels

        return triton_kernels
    return torch_path


def _forward(x: Tensor, *arguments: Any) -> Tensor:
    *settings, implementation = arguments
    return _path(implementation).forward(x, *settings)


def _derivative(grad: Tensor, x: Tensor, *arguments: Any) -> Tensor:
    *settings, implementation = arguments
    return _path(implementation).derivative(grad, x, *settings)


def _curvature(v: Tensor, grad: Tensor, x: Tensor, *arguments: Any) -> Tensor:
    *settings, implementation = arguments
    return _path(implementation).curvature(v, grad, x, *settings)


def _forward_fake(x: Tensor, *arguments: Any) -> Tensor:
    return x.new_empty(x.shape)


def _derivative_fake(grad: Tensor, x: Tensor, *arguments: Any) -> Tensor:
    return x.new_empty(x.shape)


def _curvature_fake(v: Tensor, grad: Tensor, x: Tensor, *arguments: Any) -> Tensor:
    return x.new_empty(x.shape)


def _bias_gradient(gradient: Tensor, bias: Tensor | None, dim: int) -> Tensor | None:
    if bias is None:
        return None
    others = [d for d in range(gradient.dim()) if d != dim]
    wide = torch.promote_types(gradient.dtype, torch.float32)
    return (gradient.sum(others, dtype=wide) if others else gradient).to(bias.dtype)


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, bias, *ctx.settings = inputs
    ctx.save_for_backward(x, bias)


def _differentiate_forward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, bias = ctx.saved_tensors
    gradient = _derivative_op(grad, x, bias, *ctx.settings)
    return gradient, _bias_gradient(gradient, bias, ctx.settings[0]), *[None] * 6


def _save_derivative(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, x, bias, *ctx.settings = inputs
    ctx.save_for_backward(grad, x, bias)


def _differentiate_derivative(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
    grad, x, bias = ctx.saved_tensors
    dim, activation, _, gain, clamp, implementation = ctx.settings
    again = _derivative_op(v, x, bias, *ctx.settings).to(grad.dtype)
    if activation in torch_path.PIECEWISE_LINEAR:
        nothing = x.new_zeros(()).expand(x.shape)
        return again, nothing, None if bias is None else bias.new_zeros(bias.shape), *[None] * 6
    bent = _curvature_op(v, grad, x, bias, dim, activation, gain, clamp, implementation)
    return again, bent, _bias_gradient(bent, bias, dim), *[None] * 6


def _refuse_third_derivative(ctx: Any, *grads: Tensor) -> NoReturn:
    raise RuntimeError(
        "bias_activation has derivatives of order one and two for curved activations; use backend='reference' for a "
        "third"
    )


_SETTINGS = "int dim, str activation, float negative_slope, float gain, float? clamp, str implementation"
_forward_op = define_operation(
    f"bias_activation(Tensor x, Tensor? bias, {_SETTINGS}) -> Tensor",
    _forward,
    _forward_fake,
    setup_context=_save_forward,
    backward=_differentiate_forward,
)
_derivative_op = define_operation(
    f"bias_activation_derivative(Tensor grad, Tensor x, Tensor? bias, {_SETTINGS}) -> Tensor",
    _derivative,
    _derivative_fake,
    setup_context=_save_derivative,
    backward=_differentiate_derivative,
)
_curvature_op = define_operation(
    "bias_activation_curvature(Tensor v, Tensor grad, Tensor x, Tensor? bias, int dim, str activation, float gain,"
    " float? clamp, str implementation) -> Tensor",
    _curvature,
    _curvature_fake,
    backward=_refuse_third_derivative,
)
