"""The configurations of the minibatch standard deviation, for the ahead-of-time gate and for warm-up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from gencore_kernels.aot import KernelCase
from gencore_kernels.minibatch_stddev import minibatch_stddev
from gencore_kernels.minibatch_stddev import triton_kernels as kernels

GROUPS = (2, 4, 8, 16, 32)
INTEGERS = ("M", "F", "N", "CHW", "HW", "out_row", "grad_row", "length", "splits")
ALIGNED = ("N", "CHW", "HW", "out_row", "grad_row", "length")


def aot_cases() -> Iterator[KernelCase]:
    """Every group size class; the unit of work is one element of one member."""
    for group in GROUPS:
        for dtype in ("fp32", "bf16") if group == 4 else ("fp32",):
            unrolled = {"GROUP": group, "UNROLLED": group <= kernels.MAX_UNROLLED_GROUP}
            yield _case(
                f"forward G={group} {dtype}",
                kernels.forward_kernel,
                group,
                dtype,
                unrolled | {"CONCAT": True, "SPLIT": False},
            )
            yield _case(
                f"backward G={group} {dtype}", kernels.backward_kernel, group, dtype, unrolled | {"CONCAT": True}
            )
    split = {"GROUP": 4, "UNROLLED": True, "CONCAT": True, "SPLIT": True}
    yield _case("forward split G=4 fp32", kernels.forward_kernel, 4, "fp32", split)
    yield _case("fill fp32", kernels.fill_kernel, 4, "fp32", {"CONCAT": True, "SPLITS": 16})


def _case(name: str, kernel: object, group: int, dtype: str, constants: Mapping[str, object]) -> KernelCase:
    launch = kernels.configuration(group)
    pointers = dict.fromkeys(("x_ptr", "out_ptr", "grad_ptr"), f"*{dtype}")
    return KernelCase(
        name=f"minibatch_stddev {name}",
        kernel=kernel,
        signature=pointers | dict.fromkeys(INTEGERS, "i32") | {"part_ptr": "*fp32", "eps": "fp32"},
        constants=dict(constants) | {"BLOCK": launch["BLOCK"]},
        num_warps=launch["num_warps"],
        num_stages=launch["num_stages"],
        divisible_by_16=ALIGNED,
    )


def warm_up(device: torch.device) -> Iterator[str]:
    """Compiles the kernels for groups of four (StyleGAN) and for a whole batch of sixteen (ProGAN)."""
    for group in (4, 16):
        x = torch.randn(16, 32, 4, 4, device=device, requires_grad=True)
        minibatch_stddev(x, group, backend="triton").sum().backward()
        yield f"minibatch_stddev G={group}"
