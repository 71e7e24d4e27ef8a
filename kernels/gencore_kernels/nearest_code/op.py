"""The public look-up, and its registration as `gencore::nearest_code` and `gencore::code_statistics`."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from gencore_kernels.dispatch import Backend, choose, register
from gencore_kernels.library import define_operation
from gencore_kernels.nearest_code import compiled_path, reference, statistics, torch_path
from gencore_kernels.nearest_code.prepare import (
    DTYPES,
    OPERATION,
    PreparedCodebook,
    check_codebook,
    each_head,
    make_tensors,
    with_heads,
)

RETURNS = ("distance", "code", "counts", "sums")

register(OPERATION)


class NearestCode(NamedTuple):
    """Result of `nearest_code`; what was not asked for is None."""

    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    distance: Tensor | None = None
    code: Tensor | None = None
    counts: Tensor | None = None
    sums: Tensor | None = None


def nearest_code(
    x: Tensor,
    codebook: Tensor,
    *,
    bias: Tensor | None = None,
    prepared: PreparedCodebook | None = None,
    returns: tuple[str, ...] = ("distance",),
    precision: Literal["exact", "fast"] = "exact",
    backend: Backend = "auto",
) -> NearestCode:
    """Nearest code of every row: index_n = argmin_k ||x_n - c_k||^2 + b_k, without an N x K matrix in memory.

    x: [N, D], any strides; or [H, N, D] with one codebook a head. codebook: [K, D], or [H, K, D]. float16, bfloat16 and
        float32 mix freely (each converts to float32 without loss); float64 goes with float64 only.
    bias: [K] or [H, K], added to the squared distance in the choice, never in the distance returned.
    prepared: `prepare_codebook(codebook, bias)`, to save that part when the codebook stays the same between calls.
    returns: any of "distance", "code", "counts", "sums".
    precision: "exact", the argmin as if in float64, the lowest index on ties; or "fast", whatever one pass of low
        precision finds (a code nearly as near; also right for rows and codes that are not finite).
    backend: see `gencore_kernels.explain`; "compiled" is C++ for the CPU, for all but float64.

    Returns NearestCode: index int64 [(H,) N]; distance [(H,) N] = ||x_n - c_index||^2 by direct differences, float32
    (float64 for float64); code [(H,) N, D] = c_index in the codebook's dtype; counts int64 [(H,) K] and sums [(H,) K,
    D], float32 (float64 for float64): rows per code and their sum, what an EMA codebook needs (van den Oord et al.
    2017, appendix A.1), bit for bit repeatable under torch.use_deterministic_algorithms(True).

    A row of x that is not finite, or any row when no code is usable, has index 0, distance NaN, and stays out of counts
    and sums. A code with an entry or bias that is not finite is never chosen. Codes whose float64 distances differ only
    in the last bits may be ordered differently by backends that sum the squares in another order.

    Gradients, to second order: distance to x, 2 (x_n - c_index), and to codebook; code to codebook. None to bias, and
    none through the choice: straight-through estimation belongs to the caller. counts and sums carry none.

    Raises ValueError for K = 0 or D = 0, shapes, dtypes or devices that do not fit, a stale `prepared`, an unknown name
    in `returns`, `precision` or `backend`; BackendUnavailableError when an explicit backend cannot run.
    """
    check_codebook(codebook, bias)
    _check_call(x, codebook, returns, precision)
    implementation, tensors = _choose(x, codebook, bias, prepared, precision, backend)
    flat_x, flat_codebook = with_heads(x, 3), with_heads(codebook, 3)
    shift = None if bias is None else with_heads(bias, 2)
    distance, index = _look_up(flat_x, flat_codebook, shift, tensors, precision, implementation)
    counts = sums = None
    if "counts" in returns or "sums" in returns:
        deterministic = torch.are_deterministic_algorithms_enabled()
        defined = ~distance.detach().isnan()
        counts, sums = _statistics(
            flat_x.detach(), index, defined, codebook.shape[-2], "sums" in returns, deterministic, implementation
        )
    code = gather_codes(flat_codebook, index) if "code" in returns else None
    found = NearestCode(
        index,
        distance if "distance" in returns else None,
        code,
        counts if "counts" in returns else None,
        sums if "sums" in returns else None,
    )
    if x.dim() == 3:
        return found
    index, *rest = found
    return NearestCode(index[0], *(None if part is None else part[0] for part in rest))


def gather_codes(codebook: Tensor, index: Tensor) -> Tensor:
    """codebook [H, K, D], index [H, N] -> [H, N, D]. One look-up over all heads: its gradient is a segment sum."""
    heads, num_codes, dim = codebook.shape
    offset = torch.arange(heads, device=index.device)[:, None] * num_codes
    return codebook.reshape(-1, dim).index_select(0, (index + offset).flatten()).view(*index.shape, dim)


def _check_call(x: Tensor, codebook: Tensor, returns: tuple[str, ...], precision: str) -> None:
    if x.dim() != codebook.dim() or x.shape[-1] != codebook.shape[-1] or x.shape[:-2] != codebook.shape[:-2]:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and the codebook {tuple(codebook.shape)}; expected [N, D] with [K, D], or "
            "[H, N, D] with [H, K, D]"
        )
    if x.device != codebook.device:
        raise ValueError(f"x is on {x.device} and the codebook on {codebook.device}; move one of them")
    if x.dtype not in DTYPES or (x.dtype == torch.float64) != (codebook.dtype == torch.float64):
        raise ValueError(
            f"x is {x.dtype} and the codebook {codebook.dtype}; expected float16, bfloat16 or float32 in any "
            "mixture, or float64 for both"
        )
    unknown = [name for name in returns if name not in RETURNS]
    if unknown or isinstance(returns, str):
        raise ValueError(f"returns is {returns!r}; expected a tuple of names among {RETURNS}")
    if precision not in ("exact", "fast"):
        raise ValueError(f"precision is {precision!r}; expected 'exact' or 'fast'")


def _choose(
    x: Tensor,
    codebook: Tensor,
    bias: Tensor | None,
    prepared: PreparedCodebook | None,
    precision: str,
    backend: Backend,
) -> tuple[str, list[Tensor]]:
    """(implementation, its prepared tensors)."""
    if prepared is None:
        chosen = choose(OPERATION, backend, x, codebook, bias=bias, precision=precision)
        return chosen.implementation, []
    prepared.check(codebook, bias)
    asked = prepared.implementation if backend == "auto" else backend
    chosen = choose(OPERATION, asked, x, codebook, bias=bias, prepared=prepared, precision=precision)
    if chosen.implementation != prepared.implementation:
        raise ValueError(
            f"the codebook was prepared for backend {prepared.implementation!r} and the call asks for {backend!r}; "
            f"call prepare_codebook(codebook, bias, backend={backend!r})"
        )
    return chosen.implementation, list(prepared.tensors)


def _look_up_kernel(
    x: Tensor, codebook: Tensor, bias: Tensor | None, prepared: list[Tensor], precision: str, implementation: str
) -> tuple[Tensor, Tensor]:
    if implementation == "reference":
        index, distance = reference.nearest(x, codebook, bias)
        return distance.to(torch_path.work_dtype(codebook.dtype)), index
    tensors = prepared or make_tensors(implementation, codebook, bias)
    if implementation == "triton":
        from gencore_kernels.nearest_code import triton_path

        return triton_path.search(x, codebook, bias, tensors, certified=precision == "exact")[::-1]
    path = compiled_path if implementation == "compiled" else torch_path
    found = [
        path.search(
            x[head],
            *codes,
            torch_path.CentredCodes(*(tensor[head] for tensor in tensors)),
            certified=precision == "exact",
        )
        for head, codes in enumerate(each_head(codebook, bias))
    ]
    if not found:
        return _look_up_fake(x, codebook, bias, prepared, precision, implementation)
    indices, distances = zip(*found, strict=True)
    return torch.stack(distances), torch.stack(indices)


def _look_up_fake(
    x: Tensor, codebook: Tensor, bias: Tensor | None, prepared: list[Tensor], precision: str, implementation: str
) -> tuple[Tensor, Tensor]:
    return (
        x.new_empty(x.shape[:2], dtype=torch_path.work_dtype(codebook.dtype)),
        x.new_empty(x.shape[:2], dtype=torch.int64),
    )


def _look_up_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.num_prepared = len(inputs[3])


def _look_up_backward(ctx: Any, grad: Tensor, _: None) -> tuple[Tensor | list[None] | None, ...]:
    """d distance_n / d x_n = 2 (x_n - c_index) and the opposite, summed over the rows of a code, to the codebook."""
    x, codebook, index = ctx.saved_tensors
    heads, num_codes, dim = codebook.shape
    grad_x = 2.0 * grad[..., None] * (x.to(grad.dtype) - gather_codes(codebook, index).to(grad.dtype))
    grad_codebook = None
    if ctx.needs_input_grad[1]:
        row = index + torch.arange(heads, device=index.device)[:, None] * num_codes
        zeros = grad_x.new_zeros(heads * num_codes, dim)
        grad_codebook = zeros.index_add(0, row.flatten(), -grad_x.reshape(-1, dim))
        grad_codebook = grad_codebook.view_as(codebook).to(codebook.dtype)
    return (
        (grad_x.to(x.dtype) if ctx.needs_input_grad[0] else None),
        grad_codebook,
        None,
        [None] * ctx.num_prepared,
        None,
        None,
    )


_look_up = define_operation(
    "nearest_code(Tensor x, Tensor codebook, Tensor? bias, Tensor[] prepared, str precision, str implementation)"
    " -> (Tensor, Tensor)",
    _look_up_kernel,
    _look_up_fake,
    setup_context=_look_up_context,
    backward=_look_up_backward,
)
_statistics = define_operation(statistics.SCHEMA, statistics.kernel, statistics.fake)
