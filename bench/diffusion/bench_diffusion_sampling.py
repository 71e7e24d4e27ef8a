"""Samplers against diffusers and denoising-diffusion-pytorch: the steps alone, and whole loops with the same weights.

A loop of diffusers runs its own UNet2DModel, whose weights ours has read; "our network" is a peer's loop around ours
(denoising-diffusion-pytorch's own U-Net is another architecture).

denoising-diffusion-pytorch is imported with empty modules in place of torchvision, ema-pytorch and pytorch-fid where
they are not installed: its trainer needs them, its sampling does not.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UNet2DModel,
)
from torch import Tensor, nn

from gencore import Noise
from gencore_diffusion.diffusers.checkpoint import from_diffusers
from gencore_diffusion.diffusers.scheduler import DiffusersScheduler
from gencore_diffusion.samplers.solvers import DDIMSampler, DPMSolverSampler
from gencore_kernels import use_backend

TESTS = "tests/plugins/diffusion/samplers/test_solvers.py"
SHAPE = (64, 3, 64, 64)
STEPS = 20

torch.empty(7 << 20)  # see bench/kernels/bench_diffusion_step.py: nobody pays for pages that glibc gives back

THRESHOLD = {"thresholding": True, "clip_sample": False, "sample_max_value": 1.5}
SCHEDULERS = {
    "DDPM": (DDPMScheduler, {}, {}),
    "DDIM": (DDIMScheduler, {"clip_sample": True}, {}),
    "DDIM, eta 1": (DDIMScheduler, {"clip_sample": True}, {"eta": 1.0}),
    "DDIM, dynamic threshold": (DDIMScheduler, THRESHOLD, {}),
    "Euler": (EulerDiscreteScheduler, {}, {}),
    "Heun": (HeunDiscreteScheduler, {}, {}),
    "DPM-Solver++(2M)": (DPMSolverMultistepScheduler, {}, {}),
}


def steps_alone(scheduler: Any, x: Tensor, out: Tensor, noise: Tensor, **options: Any) -> Callable[[], Tensor]:
    """A loop whose network always says `out` and whose fresh noise is always `noise`, for both sides alike (drawing it
    would take longer than the step). Timesteps and table are worked out anew each time."""

    def drawn(*_: Any, **__: Any) -> Tensor:
        return noise

    def run() -> Tensor:
        scheduler.set_timesteps(STEPS)
        state = x * scheduler.init_noise_sigma
        with mock.patch.object(torch, "randn", drawn):
            for t in scheduler.timesteps:
                scheduler.scale_model_input(state[:1, :1, :1, :1], t)  # diffusers' Euler warns where it was not called
                state = scheduler.step(out, t, state, **options).prev_sample
        return state

    return run


@pytest.mark.parametrize("name", SCHEDULERS)
def test_steps_without_network(race, name) -> None:
    """The adapter's steps and diffusers' own, table included, on the same tensors."""
    kind, config, options = SCHEDULERS[name]
    x, out, noise = torch.randn(SHAPE), torch.randn(SHAPE), torch.randn(SHAPE)
    theirs = steps_alone(kind(**config), x, out, noise, **options)
    ours = steps_alone(DiffusersScheduler({"_class_name": kind.__name__, **config}), x, out, noise, **options)
    exact = theirs().double()

    def plain() -> Tensor:
        with use_backend("torch"):
            return ours()

    contestants = {"gencore": ours, "gencore, backend torch": plain, "diffusers": theirs}
    error = lambda y: (y.double() - exact).abs().max() / exact.abs().max()  # noqa: E731
    case = f"{STEPS} steps of {name}, {'x'.join(map(str, SHAPE))}, no network"
    race("diffusion_sampling", case, contestants, error=error, error_unit="max, relative to diffusers", tests=TESTS)


class SmallUNet:
    """One small U-Net of diffusers, and the same weights read into ours."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.theirs = UNet2DModel(
            sample_size=32,
            layers_per_block=1,
            block_out_channels=(32, 64),
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            attention_head_dim=16,
            norm_num_groups=8,
        ).eval()
        self.theirs.save_pretrained(folder)
        self.model = from_diffusers(folder)
        self.start = Noise(0, 0, 4).normal(3, 32, 32)

    def gencore(self, sampler: Any) -> Callable[[], Tensor]:
        sigmas = sampler.sigmas(self.model)
        x = self.start * (1 + sigmas[0] ** 2) ** 0.5

        @torch.no_grad()
        def run() -> Tensor:
            return sampler.solve(self.model, x, sigmas)

        return run

    def diffusers(self, scheduler: Any, network: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], Tensor]:
        @torch.no_grad()
        def run() -> Tensor:
            scheduler.set_timesteps(STEPS)
            x = self.start
            for t in scheduler.timesteps:
                x = scheduler.step(network(x, t), t, x).prev_sample
            return x

        return run

    def rivals(self, scheduler: Callable[[], Any]) -> dict[str, Callable[[], Tensor]]:
        """diffusers whole, and its scheduler around our network."""
        return {
            "diffusers": self.diffusers(scheduler(), lambda x, t: self.theirs(x, t).sample),
            "diffusers, our network": self.diffusers(
                scheduler(), lambda x, t: self.model.network(x, t.float().expand(len(x)), None)
            ),
        }

    def denoising_diffusion_pytorch(self) -> Callable[[], Tensor]:
        """Its DDIM loop, on our network in the shape of its own."""
        kind = denoising_diffusion_pytorch().GaussianDiffusion
        options = {"objective": "pred_noise", "beta_schedule": "linear", "sampling_timesteps": STEPS}
        diffusion = kind(Adapted(self.model.network), image_size=32, **options)
        return lambda: diffusion.sample(batch_size=len(self.start))


class Adapted(nn.Module):
    """Our network as denoising-diffusion-pytorch calls one."""

    channels, out_dim, self_condition = 3, 3, False

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, time: Tensor, condition: None = None) -> Tensor:
        return self.network(x, time.float(), None)


def denoising_diffusion_pytorch() -> Any:
    names = ("torchvision", "ema_pytorch", "pytorch_fid", "pytorch_fid.fid_score", "pytorch_fid.inception")
    missing = [name for name in names if importlib.util.find_spec(name.split(".")[0]) is None]
    with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in missing}):
        module = importlib.import_module("denoising_diffusion_pytorch.denoising_diffusion_pytorch")
    module.tqdm = functools.partial(module.tqdm, disable=True)  # the others draw no bar
    return module


def finite(x: Tensor) -> float:
    """Loops differ in their timesteps' rounding and their starts: they are compared in time, not in pixels."""
    return float(not x.isfinite().all())


def test_ddim_loop(race, tmp_path) -> None:
    case = SmallUNet(tmp_path)
    contestants = {
        "gencore": case.gencore(DDIMSampler(steps=STEPS, clip=1.0)),
        **case.rivals(lambda: DDIMScheduler(timestep_spacing="linspace")),
        "denoising-diffusion-pytorch, our network": case.denoising_diffusion_pytorch(),
    }
    name = f"DDIM, {STEPS} steps, 4x3x32x32, same weights"
    race("diffusion_sampling", name, contestants, error=finite, error_unit="1 if not finite", tests=TESTS)


def test_dpm_solver_loop(race, tmp_path) -> None:
    case = SmallUNet(tmp_path)
    contestants = {
        "gencore": case.gencore(DPMSolverSampler(steps=STEPS)),
        **case.rivals(DPMSolverMultistepScheduler),
    }
    name = f"DPM-Solver++(2M), {STEPS} steps, 4x3x32x32, same weights"
    race("diffusion_sampling", name, contestants, error=finite, error_unit="1 if not finite", tests=TESTS)
