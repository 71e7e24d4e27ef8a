"""`diffusion_step` and `quantile_abs`: the public functions, their dispatch and their torch.library operations."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from gencore_kernels.diffusion_step import reference, torch_path
from gencore_kernels.diffusion_step.table import StepRow
from gencore_kernels.dispatch import Backend, Operation, choose, compiled_obstacle, register, triton_obstacle
from gencore_kernels.library import define_operation

COLUMNS = len(StepRow._fields)


def _step_obstacle(
    implementation: str,
    x: Tensor,
    out: Tensor,
    table: Tensor,
    step: Tensor | int,
    *,
    uncond: Tensor | None = None,
    noise: Tensor | None = None,
    seeds: Tensor | None = None,
    threshold: float | None = None,
) -> str | None:
    tensors = [x, out, uncond, noise]
    if implementation == "compiled":
        return compiled_obstacle(tensors)
    if implementation != "triton":
        return None
    if x.dim() and x.shape[0] and x[0].numel() >= 2**31:
        return f"the triton kernels count the elements of a sample in 32 bits; it has {x[0].numel()}"
    return triton_obstacle(tensors)


def _quantile_obstacle(implementation: str, x: Tensor, p: float) -> str | None:
    if implementation == "compiled":
        return compiled_obstacle([x])
    return triton_obstacle([x]) if implementation == "triton" else None


def _refuse_gradient(what: str, implementation: str, tensors: list[Tensor | None]) -> None:
    """ValueError if autograd would have to go through a quantile outside the reference."""
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        raise ValueError(
            f"{what} has a gradient in the reference only, and the backend is {implementation!r}: "
            "pass backend='reference', detach the tensors, or use torch.no_grad()"
        )


STEP = register(Operation(name="diffusion_step", gradient_order=1, obstacle=_step_obstacle, compiled=True))
QUANTILE = register(Operation(name="quantile_abs", gradient_order=0, obstacle=_quantile_obstacle, compiled=True))


def diffusion_step(
    x: Tensor,
    out: Tensor,
    table: Tensor,
    step: Tensor | int,
    *,
    uncond: Tensor | None = None,
    noise: Tensor | None = None,
    seeds: Tensor | None = None,
    threshold: float | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """One step of any one-step diffusion or flow sampler, in one pass over memory: guidance, estimate, clamp, update,
    noise.

    With the row (kx, ko, p0, px, po, sigma, radius, guidance) of `table` at `step`, see `StepRow` and `step_table`:

        o = uncond + guidance (out - uncond);  x0 = clamp(kx x + ko o, +-radius);  y = p0 x0 + px x + po o + sigma z

    x: [batch, ...], the noisy sample, floating, any strides. out: the network's output at x, of x's shape.
    table: [T, 8] float32, on x's device. It stays there for the whole run: no step is a new program, and none waits
        for the host.
    step: which row, counted from 0: an int32 or int64 tensor on x's device, scalar or [batch], or a Python int
        (checked; it is copied to the device, so pass a tensor inside a captured graph or a compiled function).
    uncond: the network's output without the condition. None: o = out, and the guidance column is not read.
    noise: z itself, of x's shape. seeds: int64 [batch] on x's device; z is then `philox_normal(seeds, step,
        x.shape[1:])`, which does not depend on the batch, on the place in it, or on the backend (to 1e-5). Not both.
        The elements are counted in the order of x's dimensions.
    threshold: dynamic thresholding (Saharia et al. 2022, arXiv:2205.11487, section 2.3) at this quantile p in [0, 1],
        0.995 in the paper: s = min(max(1, the p-quantile of the sample's |x0|), radius), and clamp(x0, +-s) / s takes
        the place of the clamp.
    backend: see `gencore_kernels.explain`; triton takes float16, bfloat16 and float32, "compiled" is one pass of C++
        for float32 on the CPU.
    Returns y, contiguous, of x's shape and dtype. The dtypes of x, out, uncond and noise may differ: the work is done
    in float32, or in float64 when one of them has it.
    Gradients: first order, to x, out, uncond and noise (the clamp passes |x0| = radius); a second raises RuntimeError.
    With a threshold only "reference" has a gradient. "reference" has any order.
    Without a look at the device's numbers, so the same on every backend: a sample is all NaN if its tensor step is
    outside the table, if its sigma is not 0 and neither noise nor seeds is given, or if, with a threshold, its x0 has
    a NaN. A coefficient of exactly 0 leaves its term out, so that what it would multiply need not be finite.
    Raises ValueError for shapes, dtypes or devices that do not fit, an int step outside the table, both noise and
    seeds, a threshold outside [0, 1], or a backend that is unknown or cannot run.
    """
    step = _checked_step(x, table, step)
    _check_tensors(x, {"out": out, "uncond": uncond, "noise": noise}, seeds)
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise ValueError(
            f"threshold must be a quantile in [0, 1] or None, got {threshold}: 0.995 is the 99.5th percentile"
        )
    choice = choose(STEP, backend, x, out, table, step, uncond=uncond, noise=noise, seeds=seeds, threshold=threshold)
    implementation = choice.implementation
    tracing = torch.compiler.is_compiling()
    # torch.compile gets the lines of a plain step, to fuse them. A threshold's would make it sort whole samples.
    if implementation == "reference" or (implementation != "triton" and tracing and threshold is None):
        return reference.diffusion_step(x, out, table, step, uncond, noise, seeds, threshold).contiguous()
    if threshold is not None:
        _refuse_gradient("a dynamic threshold", implementation, [x, out, uncond, noise])
    if implementation != "triton" and type(x) is Tensor and not torch.is_grad_enabled() and not tracing:
        # Nothing to record and nobody tracing: the dispatcher would take as long as a small step.
        return _step(x, out, table, step, uncond, noise, seeds, threshold, implementation)
    return _step_op(x, out, table, step, uncond, noise, seeds, threshold, implementation)


def quantile_abs(x: Tensor, p: float, *, backend: Backend = "auto") -> Tensor:
    """The p-quantile of |x| of each sample, exact, interpolated linearly between order statistics as by torch.quantile.

    x: [batch, ...], floating, at least one number a sample. p: in [0, 1]. backend: as for `diffusion_step`.
    Returns [batch], float32 (float64 for float64). A sample with a NaN has quantile NaN; one between a number and
    infinity is infinite. No gradient, except with backend="reference". No limit on the size of a sample
    (torch.quantile stops at 16 million).
    Raises ValueError for x of no dimension, not floating or with empty samples, p outside [0, 1], or a backend that
    cannot run.
    """
    if x.dim() < 1 or not x.is_floating_point() or (x.shape[0] and not x[0].numel()):
        raise ValueError(
            f"x must be a floating tensor [batch, ...] with numbers in each sample, got {x.dtype} {tuple(x.shape)}"
        )
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p must be in [0, 1], got {p}")
    implementation = choose(QUANTILE, backend, x, p).implementation
    if not x.shape[0]:
        return x.new_empty(0, dtype=reference.working_dtype(x))
    if implementation == "reference":
        return reference.quantile_abs(x.to(reference.working_dtype(x)), p)
    _refuse_gradient("quantile_abs", implementation, [x])
    return _quantile_op(x, p, implementation)


def _checked_step(x: Tensor, table: Tensor, step: Tensor | int) -> Tensor:
    """The step as a tensor, scalar or [batch]; ValueError for a table or a step that cannot be used."""
    if table.dim() != 2 or table.shape[1] != COLUMNS or not table.shape[0] or table.dtype != torch.float32:
        raise ValueError(
            f"table must be float32 [T, {COLUMNS}], T >= 1, as step_table returns it, "
            f"got {table.dtype} {tuple(table.shape)}"
        )
    if not isinstance(step, Tensor):
        if not 0 <= step < table.shape[0]:
            raise ValueError(f"step {step} is outside the table, whose rows are 0 to {table.shape[0] - 1}")
        step = torch.full((), step, dtype=torch.int32, device=x.device)
    if step.dtype not in (torch.int32, torch.int64) or tuple(step.shape) not in ((), tuple(x.shape[:1])):
        raise ValueError(
            f"step must be int32 or int64, scalar or {list(x.shape[:1])}, got {step.dtype} {list(step.shape)}"
        )
    for name, tensor in (("table", table), ("step", step)):
        if tensor.device != x.device:
            raise ValueError(f"{name} is on {tensor.device} and x on {x.device}: move it once, before the loop")
    return step


def _check_tensors(x: Tensor, others: dict[str, Tensor | None], seeds: Tensor | None) -> None:
    """ValueError unless the tensors are floating, of x's shape and on x's device, and the seeds int64 [batch] and
    without noise beside them."""
    if x.dim() < 1 or not x.is_floating_point():
        raise ValueError(f"x must be a floating tensor [batch, ...], got {x.dtype} {tuple(x.shape)}")
    for name, tensor in others.items():
        if tensor is not None and (
            tensor.shape != x.shape or tensor.device != x.device or not tensor.is_floating_point()
        ):
            raise ValueError(
                f"{name} must be floating, of x's shape {tuple(x.shape)} and on {x.device}, "
                f"got {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
            )
    if seeds is not None and (seeds.dtype != torch.int64 or seeds.shape != x.shape[:1] or seeds.device != x.device):
        raise ValueError(
            f"seeds must be int64 [{x.shape[0]}] on {x.device}, one a sample, "
            f"got {seeds.dtype} {tuple(seeds.shape)} on {seeds.device}"
        )
    if others["noise"] is not None and seeds is not None:
        raise ValueError("got both noise and seeds: pass noise to add it as it is, or seeds to have it drawn")


def _step(
    x: Tensor,
    out: Tensor,
    table: Tensor,
    step: Tensor,
    uncond: Tensor | None,
    noise: Tensor | None,
    seeds: Tensor | None,
    threshold: float | None,
    implementation: str,
) -> Tensor:
    if implementation == "triton":
        from gencore_kernels.diffusion_step import triton_kernels

        return triton_kernels.diffusion_step(x, out, table, step, uncond, noise, seeds, threshold)
    if implementation == "compiled":
        from gencore_kernels.diffusion_step import compiled_path

        return compiled_path.diffusion_step(x, out, table, step, uncond, noise, seeds, threshold)
    return torch_path.diffusion_step(x, out, table, step, uncond, noise, seeds, threshold)


def _step_fake(
    x: Tensor,
    out: Tensor,
    table: Tensor,
    step: Tensor,
    uncond: Tensor | None,
    noise: Tensor | None,
    seeds: Tensor | None,
    threshold: float | None,
    implementation: str,
) -> Tensor:
    return x.new_empty(x.shape)


def _step_backward(
    grad: Tensor, x: Tensor, out: Tensor, table: Tensor, step: Tensor, uncond: Tensor | None, implementation: str
) -> tuple[Tensor, Tensor, Tensor]:
    if implementation == "triton":
        from gencore_kernels.diffusion_step import triton_kernels

        return triton_kernels.backward(grad, x, out, table, step, uncond)
    return torch_path.backward(grad, x, out, table, step, uncond)


def _step_backward_fake(
    grad: Tensor, x: Tensor, out: Tensor, table: Tensor, step: Tensor, uncond: Tensor | None, implementation: str
) -> tuple[Tensor, Tensor, Tensor]:
    grad_uncond = out.new_empty(0) if uncond is None else uncond.new_empty(uncond.shape)
    return x.new_empty(x.shape), out.new_empty(out.shape), grad_uncond


def _save_step(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, out, table, step, uncond, noise, _, _, ctx.implementation = inputs
    ctx.guided, ctx.noise_dtype = uncond is not None, None if noise is None else noise.dtype
    ctx.save_for_backward(x, out, table, step, *([uncond] if ctx.guided else []))


def _differentiate_step(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, out, table, step, *rest = ctx.saved_tensors
    uncond = rest[0] if ctx.guided else None
    grad_x, grad_out, grad_uncond = _step_backward_op(grad, x, out, table, step, uncond, ctx.implementation)
    grad_noise = None
    if ctx.noise_dtype is not None:
        sigma = reference.rows_at(table, step, x, reference.working_dtype(grad))[StepRow._fields.index("sigma")]
        grad_noise = (sigma * grad).to(ctx.noise_dtype)
    return grad_x, grad_out, None, None, grad_uncond if ctx.guided else None, grad_noise, None, None, None


def _refuse_second_derivative(ctx: Any, *grads: Tensor) -> NoReturn:
    raise RuntimeError("diffusion_step has a derivative of order one; use backend='reference' for a second")


def _quantile(x: Tensor, p: float, implementation: str) -> Tensor:
    if implementation == "triton":
        from gencore_kernels.diffusion_step import quantile_kernels

        return quantile_kernels.quantile_abs(x, p)
    if implementation == "compiled":
        from gencore_kernels.diffusion_step import compiled_path

        return compiled_path.quantile_abs(x, p)
    return torch_path.quantile_abs(x.to(reference.working_dtype(x)), p)


def _quantile_fake(x: Tensor, p: float, implementation: str) -> Tensor:
    return x.new_empty(x.shape[0], dtype=reference.working_dtype(x))


_step_op = define_operation(
    "diffusion_step(Tensor x, Tensor out, Tensor table, Tensor step, Tensor? uncond, Tensor? noise, Tensor? seeds, "
    "float? threshold, str implementation) -> Tensor",
    _step,
    _step_fake,
    setup_context=_save_step,
    backward=_differentiate_step,
)
_step_backward_op = define_operation(
    "diffusion_step_backward(Tensor grad, Tensor x, Tensor out, Tensor table, Tensor step, Tensor? uncond, "
    "str implementation) -> (Tensor, Tensor, Tensor)",
    _step_backward,
    _step_backward_fake,
    backward=_refuse_second_derivative,
)
_quantile_op = define_operation(
    "quantile_abs(Tensor x, float p, str implementation) -> Tensor", _quantile, _quantile_fake
)
