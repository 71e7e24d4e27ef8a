"""Samplers by name."""

from __future__ import annotations

import pytest
import torch

from gencore.errors import GencoreError
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.samplers.solvers import DPMSolverSampler
from tests.plugins.diffusion.diffusion_models import SMALL, awake


def test_samplers_by_name() -> None:
    """As `model.sample(..., sampler="dpm++2m", steps=7)` finds them."""
    model = awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20, num_classes=3)))
    named = model.sample(3, condition=1, sampler="dpm++2m", steps=7, guidance=2.0, clip=1.0)
    made = model.sample(3, condition=1, sampler=DPMSolverSampler(steps=7, guidance=2.0, clip=1.0))
    assert torch.equal(named, made)
    with pytest.raises(GencoreError, match="Did you mean 'dpm\\+\\+2m'"):
        model.sample(3, sampler="dpmpp2m")
    with pytest.raises(GencoreError, match="churn"):
        model.sample(3, sampler="ddim", churn=1.0)
