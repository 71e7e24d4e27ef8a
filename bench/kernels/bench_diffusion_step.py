"""Sampling steps with guidance against diffusers and torch.compile: plain clamp, dynamic threshold, the quantile.

A contestant takes steps in a row, without gradients, each from the sample that the last one made, as a sampling loop
does: 20 of them, or 5 with a dynamic threshold, where diffusers sorts for a second. Timed one call at a time, each
would find in cache whatever the contestant before it left there.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from gencore_kernels.diffusion_step import diffusion_step, quantile_abs, reference, step_table

TIMESTEPS = list(range(500, 100, -20))
SHAPES = [(64, 3, 64, 64), (16, 3, 128, 128), (16, 3, 256, 256), (256, 3, 32, 32)]

# glibc hands freed blocks above a size back to the system, and so makes whoever allocates more pay for fresh pages. It
# raises that size when a larger block is freed, up to 32 MB: done here, so that arithmetic is compared, not luck.
torch.empty(7 << 20)


class Case:
    """The same steps prepared for diffusers' DDIM with eta = 1 and for ours."""

    guidance = 5.0

    def __init__(self, shape: tuple[int, ...], threshold: float | None, device: str = "cpu") -> None:
        self.x, self.out, self.uncond, self.noise = (torch.randn(shape, device=device) for _ in range(4))
        largest = 1.5 if threshold else 1.0
        self.scheduler = DDIMScheduler(
            clip_sample=threshold is None, thresholding=threshold is not None, sample_max_value=largest
        )
        self.scheduler.set_timesteps(50)
        timesteps = self.scheduler.timesteps
        options = {"eta": 1.0, "clip": largest, "guidance": self.guidance}
        self.table = step_table(self.scheduler.alphas_cumprod, timesteps, **options).to(device)
        self.timesteps = TIMESTEPS if threshold is None else TIMESTEPS[:5]
        self.steps = [(timesteps == t).nonzero().squeeze().to(device) for t in self.timesteps]
        self.threshold = threshold

    def ours(self, backend: str, step: Callable[..., Tensor] = diffusion_step) -> Callable[[], Tensor]:
        @torch.no_grad()
        def run() -> Tensor:
            x = self.x
            for place in self.steps:
                options = {"uncond": self.uncond, "noise": self.noise, "threshold": self.threshold, "backend": backend}
                x = step(x, self.out, self.table, place, **options)
            return x

        return run

    @torch.no_grad()
    def diffusers(self) -> Tensor:
        x = self.x
        for t in self.timesteps:
            out = self.uncond + self.guidance * (self.out - self.uncond)
            x = self.scheduler.step(out, t, x, eta=1.0, variance_noise=self.noise).prev_sample
        return x

    def exact(self, steps: list[Tensor], noise: Tensor) -> Tensor:
        x, (out, uncond, noise) = self.x.double(), (t.double() for t in (self.out, self.uncond, noise))
        for place in steps:
            x = reference.diffusion_step(x, out, self.table, place, uncond, noise, None, self.threshold)
        return x

    def error(self) -> Callable[[Tensor], float]:
        exact = self.exact(self.steps, self.noise)
        return lambda y: (y.double() - exact).abs().max().item()


@pytest.mark.parametrize("threshold", [None, 0.995], ids=["clip", "threshold"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_step(race, shape, threshold) -> None:
    case = Case(shape, threshold)
    contestants = {
        "gencore": case.ours("auto"),
        "gencore, backend torch": case.ours("torch"),
        "diffusers": case.diffusers,
        "gencore inside torch.compile": case.ours("auto", torch.compile(diffusion_step)),
    }
    kind = "clip" if threshold is None else "dynamic threshold"
    name = f"{'x'.join(map(str, shape))}, {len(case.steps)} steps, eta 1, {kind}, guidance, noise given"
    race("diffusion_step", name, contestants, error=case.error(), error_unit="max abs")


def test_quantile(race) -> None:
    x = torch.randn(16, 49152)
    exact = torch.quantile(x.double().abs(), 0.995, dim=1)
    contestants = {
        "gencore": lambda: quantile_abs(x, 0.995),
        "gencore, backend torch": lambda: quantile_abs(x, 0.995, backend="torch"),
        "torch.quantile": lambda: torch.quantile(x.abs(), 0.995, dim=1),
        "torch.kthvalue": lambda: x.abs().kthvalue(1 + int(0.995 * 49151), dim=1).values,
    }
    folder = "tests/kernels/diffusion_step"
    error = lambda q: (q.double() - exact).abs().max()  # noqa: E731
    race("quantile_abs", "16x49152, p = 0.995", contestants, error=error, error_unit="max abs", tests=folder)
