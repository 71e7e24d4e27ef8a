"""Small networks, a mixture of two modes, and noise for many examples."""

from __future__ import annotations

import torch
from torch import Tensor

from gencore import Noise
from gencore_diffusion.networks.build import DenseConfig

SMALL = DenseConfig(hidden=16, layers=1)


def awake(network: torch.nn.Module) -> torch.nn.Module:
    """No layer at zero, so that everything that an output could depend on shows."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return network


WEIGHTS, MEANS = [0.2, 0.8], [[-5.0, -5.0], [5.0, 5.0]]


def share_of_large_mode(x: Tensor) -> float:
    return (x.sum(1) > 0).double().mean().item()


class WholeBatch(Noise):
    """One generator for the whole batch: thousands of examples at little cost."""

    def __init__(self, count: int) -> None:
        self.count, self.generator = count, torch.Generator().manual_seed(0)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.generator, dtype=torch.float64)
