"""The configurations of the diffusion step and the quantile, for the ahead-of-time gate and for warm-up."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gencore_kernels.aot import KernelCase
from gencore_kernels.diffusion_step import diffusion_step, step_table
from gencore_kernels.diffusion_step import triton_kernels as kernels
from gencore_kernels.diffusion_step.quantile_kernels import QUANTILE_CONFIGURATION, quantile_kernel

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
NOISE = {"no noise": kernels.NO_NOISE, "given noise": kernels.GIVEN_NOISE, "drawn noise": kernels.DRAWN_NOISE}
TENSORS = (
    "x_ptr",
    "out_ptr",
    "uncond_ptr",
    "noise_ptr",
    "y_ptr",
    "grad_ptr",
    "grad_x_ptr",
    "grad_out_ptr",
    "grad_uncond_ptr",
)
FIXED = {
    "table_ptr": "*fp32",
    "step_ptr": "*i32",
    "seed_ptr": "*i64",
    "quantile_ptr": "*fp32",
    "x0_ptr": "*fp32",
    "share": "fp32",
}
INTEGERS = ("T", "n", "q", "blocks", "rank")


def aot_cases() -> Iterator[KernelCase]:
    """Step, estimate, derivative and quantile.

    Without loops over elements: the instructions of the whole kernel are the cost.
    """
    for dtype in DTYPES:
        for noise, mode in NOISE.items():
            yield _case(f"{noise} guided {dtype}", kernels.step_kernel, dtype, GUIDED=True, NOISE=mode, THRESHOLD=False)
        for name, kernel in (("estimate", kernels.estimate_kernel), ("backward", kernels.backward_kernel)):
            yield _case(f"{name} guided {dtype}", kernel, dtype, GUIDED=True)
    yield _case("no noise fp32", kernels.step_kernel, "fp32", GUIDED=False, NOISE=kernels.NO_NOISE, THRESHOLD=False)
    yield _case("threshold fp32", kernels.step_kernel, "fp32", GUIDED=True, NOISE=kernels.GIVEN_NOISE, THRESHOLD=True)
    yield _case("quantile fp32", quantile_kernel, "fp32")


def _case(name: str, kernel: object, dtype: str, **constants: object) -> KernelCase:
    if kernel is quantile_kernel:
        launch = QUANTILE_CONFIGURATION
    elif kernel is kernels.step_kernel:
        launch = kernels.step_configuration(DTYPES[dtype])
    else:
        launch = kernels.ELEMENTWISE_CONFIGURATION
    flags = {} if kernel is quantile_kernel else {"PER_SAMPLE": True}
    return KernelCase(
        name=f"diffusion_step {name}",
        kernel=kernel,
        signature=dict.fromkeys(TENSORS, f"*{dtype}") | FIXED | dict.fromkeys(INTEGERS, "i32"),
        constants=flags | constants | {"BLOCK": launch["BLOCK"]},
        num_warps=launch["num_warps"],
        num_stages=launch["num_stages"],
        divisible_by_16=("n", "q"),
    )


def warm_up(device: torch.device) -> Iterator[str]:
    """Compiles the step with and without guidance, for each source of noise and for a dynamic threshold, in float32
    and bfloat16.
    """
    table = step_table([0.9, 0.5, 0.1], [2, 1, 0], eta=1.0, clip=1.0).to(device)
    step = torch.zeros((), dtype=torch.int32, device=device)
    seeds = torch.arange(2, device=device)
    for dtype in DTYPES.values():
        x = torch.randn(2, 3, 32, 32, device=device, dtype=dtype)
        for uncond in (None, x):
            for noise in ({}, {"noise": x}, {"seeds": seeds}, {"noise": x, "threshold": 0.995}):
                diffusion_step(x, x, table, step, uncond=uncond, backend="triton", **noise)
                guided = "guided " if uncond is not None else ""
                yield f"diffusion_step {guided}{'+'.join(noise) or 'no noise'} {str(dtype).removeprefix('torch.')}"
