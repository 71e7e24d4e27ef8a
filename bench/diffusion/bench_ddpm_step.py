"""DDPM: training through the Trainer against other people's loops around the same network and pictures.

"denoising-diffusion-pytorch": the loop of its Trainer (clipped gradients, Adam, an average of the weights at every
tenth iteration), written out, for the package pulls another torch. "diffusers": the loop of its example of
unconditional training, with its own DDPMScheduler and EMAModel. Both in torch's defaults, as theirs are; both read the
loss at every iteration. Their random numbers are other ones than ours: no weight is compared.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel

import gencore
from gencore.compilation import compile_regions
from gencore.data import digits

STEPS, SIDE, BATCH = 10, 32, 16


def trained(recipe: gencore.Recipe, source: Any, *, compile: bool) -> float:
    """Through the Trainer; a number of its weights."""
    model: Any = gencore.Trainer(recipe, source, cpu=True, compile=compile).fit()
    return next(model.parameters()).sum().item()


def made(recipe: gencore.Recipe, compile: bool) -> Any:
    """The model, and its network compiled."""
    torch.manual_seed(0)
    model: Any = recipe.model(recipe.config)
    if compile:
        compile_regions(model, model.regions)
    return model


def denoising_diffusion_pytorch(recipe: gencore.Recipe, source: Any, *, compile: bool) -> float:
    """Its Trainer.train and GaussianDiffusion.p_losses, eps-prediction."""
    model = made(recipe, compile)
    average = copy.deepcopy(model.network)
    kept = model.alphas_cumprod.sqrt().float(), (1 - model.alphas_cumprod).sqrt().float()
    adam = torch.optim.Adam(model.network.parameters(), lr=5e-4, betas=(0.9, 0.99))
    batches, loss = gencore.data.Batches(source, BATCH, seed=0), math.nan
    for step in range(STEPS):
        x = batches[step]["x"]
        t = torch.randint(len(kept[0]), (len(x),))
        noise = torch.randn_like(x)
        signal, spread = (share[t].view(-1, 1, 1, 1) for share in kept)
        predicted = model.network(signal * x + spread * noise, t.float(), None)
        mean = F.mse_loss(predicted, noise, reduction="none").flatten(1).mean(1).mean()
        loss = mean.item()
        mean.backward()
        torch.nn.utils.clip_grad_norm_(model.network.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        if step % 10 == 0:
            with torch.no_grad():
                for ours, theirs in zip(average.parameters(), model.network.parameters(), strict=True):
                    ours.lerp_(theirs, 1 - 0.995)
    return loss


def diffusers_example(recipe: gencore.Recipe, source: Any, *, compile: bool) -> float:
    """The loop of its example train_unconditional."""
    model = made(recipe, compile)
    average = EMAModel(model.network.parameters(), decay=0.9999, use_ema_warmup=True)
    scheduler = DDPMScheduler(num_train_timesteps=len(model.alphas_cumprod))
    adam = torch.optim.AdamW(model.network.parameters(), lr=5e-4, betas=(0.95, 0.999), weight_decay=1e-6)
    rate = get_cosine_schedule_with_warmup(adam, 200, 5000)
    batches, loss = gencore.data.Batches(source, BATCH, seed=0), math.nan
    for step in range(STEPS):
        x = batches[step]["x"]
        noise = torch.randn_like(x)
        t = torch.randint(len(model.alphas_cumprod), (len(x),))
        mean = F.mse_loss(model.network(scheduler.add_noise(x, noise, t), t.float(), None), noise)
        mean.backward()
        torch.nn.utils.clip_grad_norm_(model.network.parameters(), 1.0)
        adam.step()
        rate.step()
        adam.zero_grad()
        average.step(model.network.parameters())
        loss = mean.detach().item()
    return loss


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
def test_training(compile: bool, race: Any) -> None:
    """The bar: each loop at 1.0 of our time, or more."""
    recipe = gencore.recipe("ddpm", data_shape=(1, SIDE, SIDE), prediction="eps", steps=STEPS, batch_size=BATCH)
    source = digits("train", SIDE)
    ways: dict[str, Callable[..., float]] = {
        "gencore.Trainer": trained,
        "denoising-diffusion-pytorch": denoising_diffusion_pytorch,
        "diffusers": diffusers_example,
    }
    race(
        "DDPM training",
        f"{SIDE}x{SIDE}, {STEPS} iterations of batch {BATCH}, {'compiled' if compile else 'eager'}",
        {name: lambda way=way: way(recipe, source, compile=compile) for name, way in ways.items()},  # type: ignore[misc]
        error=lambda number: float(not math.isfinite(number)),
        error_unit="1 if not finite",
        tests="tests/plugins/diffusion/test_ddpm.py",
    )
