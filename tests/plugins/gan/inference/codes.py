"""How well an encoder that never saw a pair finds codes and rebuilds data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gencore.data import digits


def correlation_of_codes(model: Any, encode: Any, n: int = 1000) -> float:
    """The mean over z's numbers of corr(z, E(G(z)))."""
    z = torch.randn(n, model.config.latent_dim, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        found = encode(model.generate(z))
    both = torch.stack([z, found], -1)
    return torch.stack([torch.corrcoef(both[:, k].T)[0, 1] for k in range(z.shape[1])]).mean().item()


def error_over_shuffled(rebuilt: Tensor, x: Tensor) -> float:
    """Mean square error of rebuilt (N, ...) against x, over that against the x of others: 1 knows nothing of x."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return ((rebuilt - x).square().mean() / (rebuilt - x[order]).square().mean()).item()


def held_out() -> Tensor:
    """The test digits, (397, 1, 8, 8)."""
    return digits("test").x
