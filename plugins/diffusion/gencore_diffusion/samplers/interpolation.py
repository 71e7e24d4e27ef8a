"""Interpolation between two samples through their latent noise (DDIM, Song et al. 2021, arXiv:2010.02502, section 5.3),
and the way from data to that noise (section 4.3).

A deterministic sampler is a map from noise to data; on the way between two noises the norm must stay what the prior
makes it, so that the path is spherical (Shoemake 1985, "Animating rotation with quaternion curves").
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from gencore import Noise
from gencore.config import check
from gencore_diffusion.parts.denoiser import Denoises
from gencore_diffusion.samplers.sampling import DiffusionSampler, prior, walk
from gencore_diffusion.samplers.solvers import EulerSampler
from gencore_diffusion.samplers.stepping import Settings, Stepper


def slerp(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    """Spherical interpolation: first and second (...) of one shape, shares (K,) in [0, 1] -> (K, ...)."""
    check(first.shape == second.shape, "second.shape", tuple(second.shape), f"{tuple(first.shape)}, as the first's")
    cosine = torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0).clamp(-1, 1)
    angle = cosine.acos()
    shares = shares.to(first).reshape(-1, *[1] * first.dim())
    if angle.sin() < 1e-6:
        return (1 - shares) * first + shares * second
    return (((1 - shares) * angle).sin() * first + (shares * angle).sin() * second) / angle.sin()


@torch.no_grad()
def interpolate(
    model: Denoises,
    sampler: DiffusionSampler,
    *,
    seed: int = 0,
    first: int = 0,
    second: int = 1,
    count: int = 8,
    condition: Tensor | None = None,
) -> Tensor:
    """`count` samples from sample `first` of `seed` to sample `second`, ends included; (count, *data_shape).

    The model is used as it is: put it in evaluation mode. `condition`: (count,) labels. Raises GencoreError for a
    sampler that draws noise at its steps.
    """
    check(count >= 2, "count", count, "at least 2")
    sigmas = sampler.sigmas(model)
    begin, end = (prior(model, Noise(seed, index, 1), sigmas[0])[0] for index in (first, second))
    x = slerp(begin, end, torch.linspace(0, 1, count)).to(getattr(model, "device", "cpu"))
    return sampler.solve(model, x, sigmas, condition=condition)


@torch.no_grad()
def encode(model: Denoises, x: Tensor, *, steps: int = 50, condition: Tensor | None = None) -> Tensor:
    """The noise (N, *data_shape) from which `DDIMSampler(steps=steps)` draws about x: DDIM's (Euler's) steps, upwards.

    x: (N, *data_shape), data, taken to be at the model's lowest level. Decode with `DDIMSampler().solve(model, noise,
    DDIMSampler(steps=steps).sigmas(model))`; what is lost on the way falls as 1 / steps. condition: (N,) labels.
    """
    rising = model.grid(steps)[::-1]
    plan = [EulerSampler().step(*pair) for pair in pairwise(rising)]
    return walk(Stepper(model, plan, x, condition, Settings()), x, None, None)
