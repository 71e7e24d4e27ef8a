"""The configurations of the resampling kernel, for the ahead-of-time gate and for warm-up."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gencore_kernels.aot import KernelCase
from gencore_kernels.upfirdn2d import downsample2d, setup_filter, upfirdn2d, upsample2d
from gencore_kernels.upfirdn2d import triton_kernels as kernels
from gencore_kernels.upfirdn2d.filters import SEPARATE_FROM

SMALL, LARGE = kernels.SMALL_PLANE, kernels.SMALL_PLANE + 1
INTEGERS = ("planes", "H", "W", "OH", "OW", "pad_y", "pad_x")


def aot_cases() -> Iterator[KernelCase]:
    """StyleGAN2's blur and its two resamplings, each with its transpose; a long filter's passes; a wide filter."""
    for dtype in ("fp32", "bf16"):
        yield _case("up 2", (4, 4), (2, 2), (1, 1), False, LARGE, dtype)
        yield _case("down 2", (4, 4), (1, 1), (2, 2), False, LARGE, dtype)
        yield _case("blur", (4, 4), (1, 1), (1, 1), False, LARGE, dtype)
    yield _case("up 2 flipped", (4, 4), (2, 2), (1, 1), True, LARGE, "fp32")
    yield _case("down 2 flipped", (4, 4), (1, 1), (2, 2), True, LARGE, "fp32")
    yield _case("up 2 small", (4, 4), (2, 2), (1, 1), False, SMALL, "fp32")
    yield _case("down 2 small", (4, 4), (1, 1), (2, 2), False, SMALL, "fp32")
    yield _case("long vertical", (SEPARATE_FROM, 1), (1, 1), (1, 1), False, LARGE, "fp32")
    yield _case("long horizontal", (1, SEPARATE_FROM), (1, 1), (1, 1), False, LARGE, "fp32")
    yield _case("12 x 12", (12, 12), (1, 1), (1, 1), False, LARGE, "fp32")


def _case(
    name: str, shape: tuple[int, int], up: tuple[int, int], down: tuple[int, int], flip: bool, pixels: int, dtype: str
) -> KernelCase:
    return KernelCase(
        name=f"upfirdn2d {name} {dtype}",
        kernel=kernels.upfirdn2d_kernel,
        signature={"x_ptr": f"*{dtype}", "out_ptr": f"*{dtype}", "f_ptr": "*fp32", "gain": "fp32"}
        | dict.fromkeys(INTEGERS, "i32"),
        constants=kernels.constants(shape, up, down, flip, pixels),
        num_warps=kernels.NUM_WARPS,
        num_stages=kernels.NUM_STAGES,
    )


def warm_up(device: torch.device) -> Iterator[str]:
    """Compiles StyleGAN2's blur and its two resamplings, and their gradients, for small and large planes."""
    f = setup_filter((1, 3, 3, 1), device=device)
    for size in (8, 32):
        x = torch.randn(4, 4, size, size, device=device, requires_grad=True)
        for name, run in (
            ("up", lambda x: upsample2d(x, f, backend="triton")),
            ("down", lambda x: downsample2d(x, f, backend="triton")),
            ("blur", lambda x: upfirdn2d(x, f, padding=(2, 1, 2, 1), backend="triton")),
        ):
            run(x).sum().backward()
            yield f"upfirdn2d {name} {size}x{size}"
