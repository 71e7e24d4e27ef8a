"""A codebook made ready once and used for many look-ups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gencore_kernels.dispatch import (
    TRITON_DTYPES,
    Backend,
    Implementation,
    Operation,
    choose,
    compiled_obstacle,
    triton_obstacle,
)
from gencore_kernels.nearest_code import compiled_path, torch_path

MAX_TRITON_DIM = 512
MAX_TRITON_CODES = 1 << 22  # codes times padded dimensions stay within 32 bits
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCodebook:
    """What `nearest_code` derives from a codebook before it looks at data. Opaque: make it with `prepare_codebook`.

    It belongs to one codebook (and bias) in one state: after an in-place change of either (an optimiser or EMA step),
    `nearest_code` raises and asks for a new one. Invisible to it are changes made through `.data`, as they are to
    autograd, and changes between calls of a function under torch.compile, where only shape, dtype and device are seen.
    """

    implementation: Implementation
    tensors: tuple[Tensor, ...]
    codebook_state: tuple[object, ...]
    bias_state: tuple[object, ...] | None

    def check(self, codebook: Tensor, bias: Tensor | None) -> None:
        """ValueError when this was prepared from another codebook or bias, or from an earlier state of them."""
        for name, tensor, state in (("codebook", codebook, self.codebook_state), ("bias", bias, self.bias_state)):
            now = None if tensor is None else tensor_state(name, tensor)
            if now == state:
                continue
            if torch.compiler.is_compiling() and now is not None and state is not None and now == state[: len(now)]:
                continue
            changed = now is not None and state is not None and now[:-1] == state[:-1]
            what = f"the {name} was changed in place since" if changed else f"it was made from another {name}"
            raise ValueError(f"prepared codebook is stale: {what}; call prepare_codebook(codebook, bias) again")


def tensor_state(name: str, tensor: Tensor) -> tuple[object, ...]:
    """What identifies a tensor's memory and its state; the version counter comes last (not while tracing)."""
    kind = (tuple(tensor.shape), tensor.dtype, tensor.device)
    if torch.compiler.is_compiling():
        return kind
    if tensor.is_inference():
        raise ValueError(
            f"{name} is an inference tensor, which counts no versions, so that a stale prepared codebook could not be "
            "noticed; make it outside torch.inference_mode(), or call nearest_code without prepared="
        )
    return (*kind, tuple(tensor.stride()), tensor.data_ptr(), tensor._version)


def obstacle(
    implementation: str,
    x: Tensor,
    codebook: Tensor,
    *,
    bias: Tensor | None = None,
    prepared: PreparedCodebook | None = None,
    returns: tuple[str, ...] = (),
    precision: Literal["exact", "fast"] = "exact",
) -> str | None:
    """Why an implementation cannot serve `nearest_code` with these arguments; None when it can."""
    if implementation == "compiled":
        return compiled_obstacle([x, codebook], TRITON_DTYPES)
    if implementation != "triton":
        return None
    if codebook.shape[-1] > MAX_TRITON_DIM:
        return f"the triton kernels hold a row of at most {MAX_TRITON_DIM} dimensions, not {codebook.shape[-1]}"
    if codebook.shape[-2] >= MAX_TRITON_CODES:
        return f"the triton kernels take fewer than {MAX_TRITON_CODES} codes, not {codebook.shape[-2]}"
    return triton_obstacle([x, codebook])


def check_codebook(codebook: Tensor, bias: Tensor | None) -> None:
    """ValueError for a codebook or bias that no implementation takes."""
    if codebook.dim() not in (2, 3) or 0 in codebook.shape[-2:]:
        raise ValueError(
            f"codebook has shape {tuple(codebook.shape)}; expected [K, D] or [H, K, D] with at least one code and one "
            "dimension"
        )
    if codebook.dtype not in DTYPES:
        raise ValueError(f"codebook is {codebook.dtype}; expected float16, bfloat16, float32 or float64")
    if bias is None:
        return
    if bias.shape != codebook.shape[:-1]:
        raise ValueError(
            f"bias has shape {tuple(bias.shape)}; expected one number a code, {tuple(codebook.shape[:-1])}"
        )
    if bias.device != codebook.device or bias.dtype not in DTYPES:
        raise ValueError(f"bias is {bias.dtype} on {bias.device}; expected floating point on {codebook.device}")
    if bias.dtype == torch.float64 and codebook.dtype != torch.float64:
        raise ValueError("bias is float64 and the codebook is not; use bias.float(), or a float64 codebook")


def make_tensors(implementation: str, codebook: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    """The prepared tensors of an implementation; codebook [H, K, D], bias [H, K] or None. Empty for "reference"."""
    if implementation in ("torch", "compiled"):
        path = compiled_path if implementation == "compiled" else torch_path
        heads = [path.centre_codes(*head) for head in each_head(codebook, bias)]
        return tuple(torch.stack(tensors) for tensors in zip(*heads, strict=True))
    if implementation == "triton":
        from gencore_kernels.nearest_code import triton_path

        return triton_path.prepare(codebook, bias)
    return ()


def each_head(codebook: Tensor, bias: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
    """[(codebook [K, D], bias [K] or None)] of every head."""
    return [(codebook[head], None if bias is None else bias[head]) for head in range(len(codebook))]


def with_heads(tensor: Tensor, dim: int) -> Tensor:
    """A leading axis of one head where `tensor` has only `dim - 1` dimensions."""
    return tensor if tensor.dim() == dim else tensor[None]


OPERATION = Operation(name="nearest_code", gradient_order=2, obstacle=obstacle, compiled=True)


@torch.no_grad()
def prepare_codebook(codebook: Tensor, bias: Tensor | None = None, *, backend: Backend = "auto") -> PreparedCodebook:
    """Does the part of `nearest_code` that depends on the codebook alone, for look-ups that repeat.

    codebook: [K, D] or [H, K, D], float16, bfloat16, float32 or float64. bias: [K] or [H, K], or None.
    backend: the implementation to prepare for; `nearest_code(..., backend="auto", prepared=...)` then uses that one.
    Memory: one copy of the codebook in float32 (torch; float64 for float64) or two in float16 (triton).
    Raises ValueError for bad shapes, dtypes or inference tensors, BackendUnavailableError as `nearest_code` does.
    """
    check_codebook(codebook, bias)
    implementation = choose(OPERATION, backend, codebook, codebook, bias=bias).implementation
    shift = None if bias is None else with_heads(bias, 2)
    tensors = make_tensors(implementation, with_heads(codebook, 3), shift)
    return PreparedCodebook(
        implementation=implementation,
        tensors=tensors,
        codebook_state=tensor_state("codebook", codebook),
        bias_state=None if bias is None else tensor_state("bias", bias),
    )
