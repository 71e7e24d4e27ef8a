"""`minibatch_discrimination`: the public function, its dispatch and its torch.library operations."""

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
from gencore_kernels.minibatch_discrimination import compiled_path, reference, torch_path

TRITON_MAX_CHANNELS = 32


def _obstacle(implementation: str, m: Tensor, *, include_self: bool = True) -> str | None:
    if implementation == "compiled":
        return compiled_obstacle([m], TRITON_DTYPES)
    if implementation != "triton":
        return None
    if m.dim() == 3 and m.shape[2] > TRITON_MAX_CHANNELS:
        return f"the triton kernels unroll C and stop at {TRITON_MAX_CHANNELS}; m has C = {m.shape[2]}"
    return triton_obstacle([m])


OPERATION = register(Operation(name="minibatch_discrimination", gradient_order=2, obstacle=_obstacle, compiled=True))


def minibatch_discrimination(m: Tensor, *, include_self: bool = True, backend: Backend = "auto") -> Tensor:
    """How close each sample is to the others of its batch: o[i, b] = sum_j exp(-sum_c |m[i, b, c] - m[j, b, c]|).

    The statistic that lets a critic see a collapsed generator: Salimans et al. 2016, "Improved Techniques for Training
    GANs", arXiv:1606.03498, section 3.2, where m = x T is the projection of features x [N, A] by a learned T [A, B *
    C].

    m: [N, B, C], floating, any strides. N is the batch, B the number of features, C the size of each; B = 100, C = 5
        in the paper.
    include_self: the paper sums over all j, so that j = i adds exactly 1; False leaves that term out (not by
        subtracting 1, which would cancel the small terms).
    backend: see `gencore_kernels.explain`; the triton kernels take float16, bfloat16, float32 and C up to 32.
        "compiled" is C++ for those dtypes on the CPU.
    Returns [N, B] of m's dtype, in [1, N] with itself and [0, N - 1] without; 16-bit inputs are summed in float32.
    Memory: O(N * N) at a time on the CPU, O(N * B * C) in the triton kernels, never N * N * B * C (the reference does
    hold it).
    Gradients: first and second order (for a gradient penalty through a critic); a third raises RuntimeError, except
    with "reference". A tie |0| has derivative 0, as in torch.abs. The gradients of all samples add up to 0 for each
    (b, c).
    Non-finite values: o[i, b] is NaN for all i if a NaN is among m[:, b]. An infinite sample has closeness 0 to all
    but its like and, inf - inf being NaN, o = NaN to itself and to samples infinite in the same channel with the same
    sign.
    Raises ValueError if m is not a three-dimensional floating tensor with C >= 1, or if the backend is unknown or
    cannot run.
    """
    if m.dim() != 3 or not m.is_floating_point() or m.shape[2] == 0:
        raise ValueError(
            f"m must be a floating tensor [N, B, C] with C >= 1, got {m.dtype} {tuple(m.shape)}: reshape x @ T to it"
        )
    implementation = choose(OPERATION, backend, m, include_self=include_self).implementation
    if implementation == "reference":
        return reference.minibatch_discrimination(m, include_self).to(m.dtype)
    return _forward_op(m, include_self, implementation)


def _path(implementation: str) -> ModuleType:
    if implementation == "triton":
        from gencore_kernels.minibatch_discrimination import triton_kernels

        return triton_kernels
    return compiled_path if implementation == "compiled" else torch_path


def _forward(m: Tensor, include_self: bool, implementation: str) -> Tensor:
    return _path(implementation).forward(m, include_self)


def _forward_fake(m: Tensor, include_self: bool, implementation: str) -> Tensor:
    return m.new_empty(m.shape[0], m.shape[1])


def _backward(grad: Tensor, m: Tensor, implementation: str) -> Tensor:
    return _path(implementation).backward(grad, m)


def _backward_fake(grad: Tensor, m: Tensor, implementation: str) -> Tensor:
    return _laid_out_as_bcn(m)


def _double_backward_fake(v: Tensor, grad: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
    return grad.new_empty(grad.shape[1], grad.shape[0]).t(), _laid_out_as_bcn(m)


def _laid_out_as_bcn(m: Tensor) -> Tensor:
    return m.new_empty(m.shape[1], m.shape[2], m.shape[0]).permute(2, 0, 1)


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    m, _, ctx.implementation = inputs
    ctx.save_for_backward(m)


def _differentiate_forward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (m,) = ctx.saved_tensors
    return _backward_op(grad, m, ctx.implementation), None, None


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, m, _ = inputs
    ctx.save_for_backward(grad, m)


def _differentiate_backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
    grad, m = ctx.saved_tensors
    return *_double_backward_op(v, grad, m), None


def _refuse_third_derivative(ctx: Any, *grads: Tensor) -> NoReturn:
    raise RuntimeError(
        "minibatch_discrimination has derivatives of order one and two; use backend='reference' for a third"
    )


_forward_op = define_operation(
    "minibatch_discrimination(Tensor m, bool include_self, str implementation) -> Tensor",
    _forward,
    _forward_fake,
    setup_context=_save_forward,
    backward=_differentiate_forward,
)
_backward_op = define_operation(
    "minibatch_discrimination_backward(Tensor grad, Tensor m, str implementation) -> Tensor",
    _backward,
    _backward_fake,
    setup_context=_save_backward,
    backward=_differentiate_backward,
)
_double_backward_op = define_operation(
    "minibatch_discrimination_double_backward(Tensor v, Tensor grad, Tensor m) -> (Tensor, Tensor)",
    torch_path.double_backward,
    _double_backward_fake,
    backward=_refuse_third_derivative,
)
