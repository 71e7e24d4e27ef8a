"""Samplers against diffusers: the steps alone, and whole loops with the same network and weights.

denoising-diffusion-pytorch is no contestant: importing it needs torchvision, which the other suites do without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler
from torch import Tensor

from gencore import Noise
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.diffusers_scheduler import DiffusersScheduler
from gencore_diffusion.solvers import DDIMSampler, DPMSolverSampler
from gencore_diffusion.unet import UNetConfig

TESTS = "tests/plugins/diffusion/test_diffusion_solvers.py"
SHAPE = (64, 3, 64, 64)
STEPS = 20

SCHEDULERS = {
    "DDIM": (DDIMScheduler, {"clip_sample": True}),
    "DDIM, dynamic threshold": (DDIMScheduler, {"thresholding": True, "clip_sample": False, "sample_max_value": 1.5}),
    "Euler": (EulerDiscreteScheduler, {}),
    "Heun": (HeunDiscreteScheduler, {}),
    "DPM-Solver++(2M)": (DPMSolverMultistepScheduler, {}),
}


def steps_alone(scheduler: Any, x: Tensor, out: Tensor) -> Callable[[], Tensor]:
    """A loop whose network always says `out`; timesteps and table are worked out anew each time."""

    def run() -> Tensor:
        scheduler.set_timesteps(STEPS)
        state = x * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            scheduler.scale_model_input(state[:1, :1, :1, :1], t)  # diffusers' Euler warns where it was not called
            state = scheduler.step(out, t, state).prev_sample
        return state

    return run


@pytest.mark.parametrize("name", SCHEDULERS)
def test_steps_without_network(race, name) -> None:
    """The adapter's steps and diffusers' own, table included, on the same tensors."""
    kind, options = SCHEDULERS[name]
    x, out = torch.randn(SHAPE), torch.randn(SHAPE)
    theirs = kind(**options)
    exact = steps_alone(theirs, x, out)().double()
    contestants = {
        "gencore": steps_alone(DiffusersScheduler({"_class_name": kind.__name__, **options}), x, out),
        "diffusers": steps_alone(theirs, x, out),
    }
    error = lambda y: (y.double() - exact).abs().max() / exact.abs().max()  # noqa: E731
    case = f"{STEPS} steps of {name}, {'x'.join(map(str, SHAPE))}, no network"
    race("diffusion_sampling", case, contestants, error=error, error_unit="max, relative to diffusers", tests=TESTS)


class SmallUNet:
    """One small U-Net for all contestants; its last layer is not at zero, so that the loop does something."""

    def __init__(self) -> None:
        config = UNetConfig(channels=(32, 64), attention=(False, False), head_dim=16)
        self.model = DDPM(DDPMConfig(data_shape=(3, 32, 32), network=config)).eval()
        torch.nn.init.normal_(self.model.network.head.weight, 0.0, 0.02)
        self.start = Noise(0, 0, 4).normal(3, 32, 32)

    def gencore(self, sampler: Any) -> Callable[[], Tensor]:
        sigmas = sampler.sigmas(self.model)
        x = self.start * (1 + sigmas[0] ** 2) ** 0.5

        @torch.no_grad()
        def run() -> Tensor:
            return sampler.solve(self.model, x, sigmas)

        return run

    def diffusers(self, scheduler: Any) -> Callable[[], Tensor]:
        @torch.no_grad()
        def run() -> Tensor:
            scheduler.set_timesteps(STEPS)
            x = self.start
            for t in scheduler.timesteps:
                out = self.model.network(x, t.float().expand(len(x)), None)
                x = scheduler.step(out, t, x).prev_sample
            return x

        return run


def finite(x: Tensor) -> float:
    """Loops differ in their timesteps' rounding and their starts: they are compared in time, not in pixels."""
    return float(not x.isfinite().all())


def test_ddim_loop(race) -> None:
    case = SmallUNet()
    contestants = {
        "gencore": case.gencore(DDIMSampler(steps=STEPS, clip=1.0)),
        "diffusers": case.diffusers(DDIMScheduler(timestep_spacing="linspace")),
    }
    name = f"DDIM, {STEPS} steps, 4x3x32x32, same U-Net"
    race("diffusion_sampling", name, contestants, error=finite, error_unit="1 if not finite", tests=TESTS)


def test_dpm_solver_loop(race) -> None:
    case = SmallUNet()
    contestants = {
        "gencore": case.gencore(DPMSolverSampler(steps=STEPS)),
        "diffusers": case.diffusers(DPMSolverMultistepScheduler()),
    }
    name = f"DPM-Solver++(2M), {STEPS} steps, 4x3x32x32, same U-Net"
    race("diffusion_sampling", name, contestants, error=finite, error_unit="1 if not finite", tests=TESTS)
