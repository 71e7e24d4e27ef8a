"""The configurations of minibatch discrimination, for the ahead-of-time gate and for warm-up."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gencore_kernels.aot import KernelCase
from gencore_kernels.minibatch_discrimination import minibatch_discrimination
from gencore_kernels.minibatch_discrimination import triton_kernels as kernels

CHANNELS = (1, 5, 8, 16, 32)


def aot_cases() -> Iterator[KernelCase]:
    """Both kernels at every size class of C; the unit of work is a pair (i, j)."""
    types = {"m_ptr": "*fp32", "N": "i32", "B": "i32"}
    for channels in CHANNELS:
        yield _case("forward", channels, kernels.forward_kernel, types | {"out_ptr": "*fp32"}, {"INCLUDE_SELF": True})
        yield _case("backward", channels, kernels.backward_kernel, types | {"g_ptr": "*fp32", "grad_ptr": "*fp32"}, {})
    yield _case(
        "forward_without_self", 5, kernels.forward_kernel, types | {"out_ptr": "*fp32"}, {"INCLUDE_SELF": False}
    )


def _case(
    name: str, channels: int, kernel: object, signature: dict[str, str], constants: dict[str, object]
) -> KernelCase:
    pick = kernels.backward_configuration if name == "backward" else kernels.forward_configuration
    blocks = pick(channels)
    return KernelCase(
        name=f"minibatch_discrimination {name} C={channels}",
        kernel=kernel,
        signature=signature,
        constants=constants | {"C": channels, "BLOCK_I": blocks["BLOCK_I"], "BLOCK_J": blocks["BLOCK_J"]},
        num_warps=blocks["num_warps"],
        num_stages=blocks["num_stages"],
        divisible_by_16=("N",),
        work=blocks["BLOCK_I"] * blocks["BLOCK_J"] / (32 * blocks["num_warps"]),
    )


def warm_up(device: torch.device) -> Iterator[str]:
    """Compiles both kernels for the paper's C = 5 and for C = 16."""
    for channels in (5, 16):
        m = torch.randn(64, 32, channels, device=device, requires_grad=True)
        minibatch_discrimination(m, backend="triton").sum().backward()
        yield f"minibatch_discrimination C={channels}"
