"""Likelihoods of stored levels: noise within the bins."""

from __future__ import annotations

import math

import pytest
import torch

from gencore import Noise
from gencore.errors import GencoreError
from gencore.nn.likelihood import PROBABILITY, density_of_levels, dequantised


def test_dequantised() -> None:
    scale = density_of_levels(256)
    x = torch.tensor([-1.0, 0.0 + 1 / 255, 1.0]).repeat(1000, 1)
    moved = dequantised(x, scale, Noise(0, 0, 1000)) - x
    assert moved.abs().max() <= 1 / 255 + 1e-6
    assert moved.std().item() == pytest.approx(2 / 255 / math.sqrt(12), rel=0.05)
    assert dequantised(x, PROBABILITY, Noise(0, 0, 1000)) is x
    with pytest.raises(GencoreError, match="apart, and the bins"):
        dequantised(torch.rand(50, 3), scale, Noise(0, 0, 50))
