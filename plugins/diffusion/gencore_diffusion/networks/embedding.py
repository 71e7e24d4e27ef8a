"""How a network is told the noise level and the label."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LOG_LEVEL_SCALE = 100.0  # log sigma spans a few units; the sinusoids' fastest waves want about a radian between levels


def log_level(sigma: Tensor) -> Tensor:
    """What a network without timesteps is told: log sigma, scaled for the sinusoids."""
    return LOG_LEVEL_SCALE * sigma.log()


def sinusoids(level: Tensor, dim: int, *, cosine_first: bool = False, frequency_shift: float = 1.0) -> Tensor:
    """level (N,) -> (N, dim) float32: sines and cosines of `dim // 2` frequencies from 1 down to about 1/10000.

    Vaswani et al. 2017, arXiv:1706.03762, section 3.5, as DDPM uses it. With a shift of 1 the last frequency is
    exactly 1/10000. `dim` is even.
    """
    half = dim // 2
    exponents = torch.arange(half, device=level.device, dtype=torch.float32) / (half - frequency_shift)
    angles = level.float()[:, None] * torch.exp(-math.log(10_000.0) * exponents)
    waves = (angles.cos(), angles.sin()) if cosine_first else (angles.sin(), angles.cos())
    return torch.cat(waves, dim=1)


class LevelEmbedding(nn.Module):
    """Sinusoids of the noise level through two linear layers, plus a learned vector for the label.

    Labels are 0 ... num_classes; the last is the null label, that of classifier-free guidance.
    """

    def __init__(
        self,
        dim_in: int,
        dim: int,
        *,
        num_classes: int | None,
        cosine_first: bool = False,
        frequency_shift: float = 1.0,
    ) -> None:
        super().__init__()
        self.dim_in, self.cosine_first, self.frequency_shift = dim_in, cosine_first, frequency_shift
        self.level = nn.Sequential(nn.Linear(dim_in, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.label = nn.Embedding(num_classes + 1, dim) if num_classes else None

    def forward(self, level: Tensor, label: Tensor | None) -> Tensor:
        """level (N,), label (N,) int64 where the model takes labels -> (N, dim)."""
        waves = sinusoids(level, self.dim_in, cosine_first=self.cosine_first, frequency_shift=self.frequency_shift)
        embedded = self.level(waves.to(next(self.level.parameters()).dtype))
        if self.label is not None:
            assert label is not None
            embedded = embedded + self.label(label)
        return embedded
