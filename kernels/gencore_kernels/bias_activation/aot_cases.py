"""The configurations of the bias and activation kernel, for the ahead-of-time gate and for warm-up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import torch

from gencore_kernels.aot import KernelCase
from gencore_kernels.bias_activation import bias_activation
from gencore_kernels.bias_activation import triton_kernels as kernels
from gencore_kernels.bias_activation.op import Activation
from gencore_kernels.bias_activation.torch_path import PIECEWISE_LINEAR

ORDERS = ("forward", "derivative", "curvature")


def aot_cases() -> Iterator[KernelCase]:
    """Every activation in every order; for StyleGAN2's leaky_relu also 16 bits, small images and linear layers."""
    for activation in get_args(Activation):
        for order in range(2 if activation in PIECEWISE_LINEAR else 3):
            yield _case(f"{activation} {ORDERS[order]}", activation, order, "rows", kernels.SMALL_ROW + 1, "fp32")
    for order in range(2):
        name = f"leaky_relu {ORDERS[order]}"
        yield _case(name, "leaky_relu", order, "rows", kernels.SMALL_ROW + 1, "bf16")
        yield _case(f"{name} small", "leaky_relu", order, "rows", kernels.SMALL_ROW, "fp32")
        yield _case(f"{name} small columns", "leaky_relu", order, "columns", kernels.SMALL_ROW, "fp32")


def _case(name: str, activation: str, order: int, bias: str, columns: int, dtype: str) -> KernelCase:
    launch = kernels.configuration(columns)
    return KernelCase(
        name=f"bias_activation {name} {dtype}",
        kernel=kernels.bias_activation_kernel,
        signature=dict.fromkeys(("x_ptr", "bias_ptr", "grad_ptr", "v_ptr", "out_ptr"), f"*{dtype}")
        | dict.fromkeys(("rows", "columns", "channels"), "i32")
        | dict.fromkeys(("slope", "gain", "limit"), "fp32"),
        constants={"ACTIVATION": activation, "ORDER": order, "BIAS": bias, "CLAMP": True}
        | {name: launch[name] for name in ("ROWS", "COLUMNS")},
        num_warps=launch["num_warps"],
        num_stages=launch["num_stages"],
        divisible_by_16=("columns",),
    )


def warm_up(device: torch.device) -> Iterator[str]:
    """Compiles leaky_relu, with and without a clamp, behind convolutions of small and large images and behind a linear
    layer."""
    for shape in ((4, 16, 8, 8), (4, 16, 32, 32), (4, 64)):
        for clamp in (None, 256.0):
            x = torch.randn(shape, device=device, requires_grad=True)
            bias = torch.zeros(shape[1], device=device, requires_grad=True)
            bias_activation(x, bias, clamp=clamp, backend="triton").sum().backward()
            yield f"bias_activation {'x'.join(map(str, shape))} clamp {clamp}"
