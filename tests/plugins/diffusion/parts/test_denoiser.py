"""What denoising refuses."""

from __future__ import annotations

import pytest
import torch

from gencore.errors import GencoreError
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from tests.plugins.diffusion.diffusion_models import SMALL


def test_denoise_refuses() -> None:
    model = DDPM(DDPMConfig(data_shape=(4,), network=SMALL))
    with pytest.raises(GencoreError, match=r"x has shape \(2, 5\)"):
        model.denoise(torch.zeros(2, 5), 1.0)
    with pytest.raises(GencoreError, match="positive noise levels"):
        model.denoise(torch.zeros(2, 4), torch.tensor([1.0, 0.0]))
    with pytest.raises(GencoreError, match="sigma has shape"):
        model.denoise(torch.zeros(2, 4), torch.ones(3))
