"""Where sampling begins, and what a sample depends on."""

from __future__ import annotations

import math

import torch

from gencore import Noise
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.samplers.ideal import ideal_gaussian
from gencore_diffusion.samplers.sampling import prior
from gencore_diffusion.samplers.solvers import DDIMSampler
from tests.plugins.diffusion.diffusion_models import SMALL, awake


def test_sample_depends_on_seed_and_index_alone() -> None:
    """With fresh noise at every step, in any batch size."""
    model = awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20)))
    sampler = DDIMSampler(steps=10, eta=1.0, clip=1.0)
    whole = model.sample(5, seed=2, sampler=sampler)
    torch.testing.assert_close(model.sample(5, seed=2, sampler=sampler, batch_size=2), whole)
    torch.testing.assert_close(model.sample(1, seed=2, start=4, sampler=sampler), whole[4:])


def test_where_sampling_begins() -> None:
    """sigma_max eps; sqrt(1 + sigma_max^2) eps where the network sees x_T, of variance 1 (DDPM)."""
    ddpm = DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20))
    eps = Noise(2, 0, 3).normal(4)
    for model, scale in ((ddpm, math.sqrt(1 + 0.5**2)), (ideal_gaussian(0.0, 1.0, dim=4), 0.5)):
        torch.testing.assert_close(prior(model, Noise(2, 0, 3), 0.5), scale * eps)
