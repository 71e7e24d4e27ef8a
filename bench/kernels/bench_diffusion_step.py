"""One sampling step with guidance against diffusers and torch.compile: plain clamp, dynamic threshold, the quantile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from gencore_kernels.diffusion_step import diffusion_step, quantile_abs, reference, step_table

GUIDANCE, TIMESTEP = 5.0, 500
SHAPES = [(64, 3, 64, 64), (16, 3, 128, 128), (16, 3, 256, 256), (256, 3, 32, 32)]


class Case:
    """The same step prepared for diffusers' DDIM with eta = 1 and for ours."""

    def __init__(self, shape: tuple[int, ...], threshold: float | None) -> None:
        self.x, self.out, self.uncond, self.noise = (torch.randn(shape) for _ in range(4))
        largest = 1.5 if threshold else 1.0
        self.scheduler = DDIMScheduler(
            clip_sample=threshold is None, thresholding=threshold is not None, sample_max_value=largest
        )
        self.scheduler.set_timesteps(50)
        timesteps = self.scheduler.timesteps
        self.table = step_table(self.scheduler.alphas_cumprod, timesteps, eta=1.0, clip=largest, guidance=GUIDANCE)
        self.step = (timesteps == TIMESTEP).nonzero().squeeze()
        self.threshold = threshold

    def gencore(self) -> Tensor:
        return self.ours(self.x, self.out, self.uncond, self.noise, self.step)

    def ours(self, x: Tensor, out: Tensor, uncond: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        return diffusion_step(x, out, self.table, step, uncond=uncond, noise=noise, threshold=self.threshold)

    def diffusers(self) -> Tensor:
        out = self.uncond + GUIDANCE * (self.out - self.uncond)
        return self.scheduler.step(out, TIMESTEP, self.x, eta=1.0, variance_noise=self.noise).prev_sample

    def compiled(self) -> Callable[[], Tensor]:
        function = torch.compile(self.ours)
        return lambda: function(self.x, self.out, self.uncond, self.noise, self.step)

    def error(self) -> Callable[[Tensor], float]:
        tensors = [t.double() for t in (self.x, self.out)]
        exact = reference.diffusion_step(
            *tensors, self.table, self.step, self.uncond.double(), self.noise.double(), None, self.threshold
        )
        return lambda y: (y.double() - exact).abs().max().item()


@pytest.mark.parametrize("threshold", [None, 0.995], ids=["clip", "threshold"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_step(race, shape, threshold) -> None:
    case = Case(shape, threshold)
    contestants = {"gencore": case.gencore, "diffusers": case.diffusers}
    if threshold is None:
        contestants["gencore inside torch.compile"] = case.compiled()
    kind = "clip" if threshold is None else "dynamic threshold"
    name = f"{'x'.join(map(str, shape))}, eta 1, {kind}, guidance, noise given"
    race("diffusion_step", name, contestants, error=case.error(), error_unit="max abs")


def test_quantile(race) -> None:
    x = torch.randn(16, 49152)
    exact = torch.quantile(x.double().abs(), 0.995, dim=1)
    contestants = {
        "gencore": lambda: quantile_abs(x, 0.995),
        "torch.quantile": lambda: torch.quantile(x.abs(), 0.995, dim=1),
        "torch.kthvalue": lambda: x.abs().kthvalue(1 + int(0.995 * 49151), dim=1).values,
    }
    folder = "tests/kernels/diffusion_step"
    error = lambda q: (q.double() - exact).abs().max()  # noqa: E731
    race("quantile_abs", "16x49152, p = 0.995", contestants, error=error, error_unit="max abs", tests=folder)
