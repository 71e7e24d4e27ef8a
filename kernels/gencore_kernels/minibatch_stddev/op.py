"""`minibatch_stddev`: the public function, its dispatch and its torch.library operations."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NoReturn

from torch import Tensor

from gencore_kernels.dispatch import (
    TRITON_DTYPES,
    Backend,
    Operation,
    choose,
    compiled_obstacle,
    register,
    triton_obstacle,
)
from gencore_kernels.library import define_operation
from gencore_kernels.minibatch_stddev import compiled_path, reference, torch_path


def _obstacle(implementation: str, x: Tensor, *args: object, **kwargs: object) -> str | None:
    if implementation == "compiled":
        return compiled_obstacle([x], TRITON_DTYPES)
    return triton_obstacle([x]) if implementation == "triton" else None


OPERATION = register(Operation(name="minibatch_stddev", gradient_order=2, obstacle=_obstacle, compiled=True))


def minibatch_stddev(
    x: Tensor,
    group_size: int = 4,
    num_features: int = 1,
    eps: float = 1e-8,
    *,
    concat: bool = True,
    backend: Backend = "auto",
) -> Tensor:
    """Appends, as constant planes, how much the samples of a group differ: mean_e sqrt(var_g x_ge + eps), var with
    divisor G.

    Karras et al. 2018, "Progressive Growing of GANs", arXiv:1710.10196, section 3 (the whole batch as one group), and
    Karras et al. 2020, arXiv:1912.04958 (groups of four). Group m holds the samples m, m + N/G, m + 2N/G, ...; the C
    channels are cut into num_features runs, each with a statistic of its own, averaged over the run's channels and
    pixels.

    x: [N, C, *spatial], floating, any strides (copied if not contiguous).
    group_size: G; it must divide N. A batch smaller than group_size is one group.
    num_features: F; it must divide C.
    eps: added to the variance, in x's units squared; positive, so that equal samples have a finite derivative.
    concat: True returns x with the planes behind it; False returns the planes alone.
    backend: see `gencore_kernels.explain`; the triton kernels take float16, bfloat16 and float32; "compiled" is C++ for
        those dtypes on the CPU.
    Returns [N, C + F, *spatial], or [N, F, *spatial], contiguous, of x's dtype; 16-bit inputs are averaged in float32.
    Gradients: first and second order; a third raises RuntimeError, except with "reference".
    A NaN or an infinity in a sample makes the statistic of its group and feature NaN.
    Raises ValueError if x is not floating or has fewer than two dimensions, if G does not divide N or F does not
    divide C, if a size or eps is not positive, or if the backend is unknown or cannot run.
    """
    if x.dim() < 2 or not x.is_floating_point():
        raise ValueError(f"x must be a floating tensor [N, C, ...], got {x.dtype} {tuple(x.shape)}")
    if group_size < 1 or num_features < 1 or not eps > 0:
        raise ValueError(
            f"group_size and num_features must be at least 1 and eps positive, got {group_size}, {num_features}, {eps}"
        )
    group = max(1, min(group_size, x.shape[0]))
    if x.shape[0] % group:
        raise ValueError(
            f"group_size {group_size} does not divide the batch of {x.shape[0]}: choose a divisor, or drop a part of it"
        )
    if x.shape[1] % num_features:
        raise ValueError(f"num_features {num_features} does not divide the {x.shape[1]} channels: choose a divisor")
    implementation = choose(OPERATION, backend, x, group_size, num_features, eps, concat=concat).implementation
    if implementation == "reference":
        return reference.minibatch_stddev(x, group, num_features, eps, concat)
    return _forward_op(x, group, num_features, eps, concat, implementation)


def _path(implementation: str) -> ModuleType:
    if implementation == "triton":
        from gencore_kernels.minibatch_stddev import triton_kernels

        return triton_kernels
    return compiled_path if implementation == "compiled" else torch_path


def _forward(x: Tensor, group_size: int, num_features: int, eps: float, concat: bool, implementation: str) -> Tensor:
    return _path(implementation).forward(x, group_size, num_features, eps, concat)


def _forward_fake(
    x: Tensor, group_size: int, num_features: int, eps: float, concat: bool, implementation: str
) -> Tensor:
    channels = (x.shape[1] if concat else 0) + num_features
    return x.new_empty(x.shape[0], channels, *x.shape[2:])


def _backward(
    grad: Tensor, x: Tensor, group_size: int, num_features: int, eps: float, concat: bool, implementation: str
) -> Tensor:
    return _path(implementation).backward(grad, x, group_size, num_features, eps, concat)


def _backward_fake(
    grad: Tensor, x: Tensor, group_size: int, num_features: int, eps: float, concat: bool, implementation: str
) -> Tensor:
    return x.new_empty(x.shape)


def _double_backward_fake(
    v: Tensor, grad: Tensor, x: Tensor, group_size: int, num_features: int, eps: float, concat: bool
) -> tuple[Tensor, Tensor]:
    return grad.new_empty(grad.shape), x.new_empty(x.shape)


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, *ctx.settings = inputs
    ctx.save_for_backward(x)


def _differentiate_forward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (x,) = ctx.saved_tensors
    return _backward_op(grad, x, *ctx.settings), *[None] * 5


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, x, *ctx.settings = inputs
    ctx.save_for_backward(grad, x)


def _differentiate_backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
    grad, x = ctx.saved_tensors
    *settings, _ = ctx.settings
    return *_double_backward_op(v, grad, x, *settings), *[None] * 5


def _refuse_third_derivative(ctx: Any, *grads: Tensor) -> NoReturn:
    raise RuntimeError("minibatch_stddev has derivatives of order one and two; use backend='reference' for a third")


_SETTINGS = "int group_size, int num_features, float eps, bool concat"
_forward_op = define_operation(
    f"minibatch_stddev(Tensor x, {_SETTINGS}, str implementation) -> Tensor",
    _forward,
    _forward_fake,
    setup_context=_save_forward,
    backward=_differentiate_forward,
)
_backward_op = define_operation(
    f"minibatch_stddev_backward(Tensor grad, Tensor x, {_SETTINGS}, str implementation) -> Tensor",
    _backward,
    _backward_fake,
    setup_context=_save_backward,
    backward=_differentiate_backward,
)
_double_backward_op = define_operation(
    f"minibatch_stddev_double_backward(Tensor v, Tensor grad, Tensor x, {_SETTINGS}) -> (Tensor, Tensor)",
    torch_path.double_backward,
    _double_backward_fake,
    backward=_refuse_third_derivative,
)
