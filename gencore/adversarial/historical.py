"""Historical averaging: a player is held near the mean of its past (Salimans et al. 2016, arXiv:1606.03498,
section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector


class HistoricalAverage(nn.Module):
    """The mean of `count` parameters over the steps taken, in buffers."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.steps_taken: Tensor
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("steps_taken", torch.zeros((), dtype=torch.int64))

    def penalty(self, parameters: Sequence[Tensor]) -> Tensor:
        """||theta - 1/t sum_(i <= t) theta_i||^2, a scalar; 0 before the first step."""
        return (self.steps_taken > 0) * (parameters_to_vector(parameters) - self.mean).square().sum()

    @torch.no_grad()
    def take(self, parameters: Sequence[Tensor]) -> None:
        """Take the parameters as they stand into the mean."""
        self.steps_taken += 1
        self.mean += (parameters_to_vector(parameters) - self.mean) / self.steps_taken
