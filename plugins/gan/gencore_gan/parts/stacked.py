"""Several perceptrons of one shape side by side, as tensors with an axis for which of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu


class StackedMLP(nn.Module):
    """`count` perceptrons with LeakyReLU(0.2). Weights (count, in, out), biases (count, out)."""

    def __init__(self, count: int, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.weights = nn.ParameterList(torch.randn(count, a, b) * (2 / (1.04 * a)) ** 0.5 for a, b in pairs)
        self.biases = nn.ParameterList(torch.zeros(count, b) for _, b in pairs)

    def forward(self, z: Tensor) -> Tensor:
        """z (count, N, in) -> (count, N, out), by one perceptron each."""
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = torch.baddbmm(bias[:, None], z if place == 0 else leaky_relu(z, 0.2), weight)
        return z


class Chain(nn.Module):
    """The last `length` states kept of a StackedMLP, in buffers: weights (length, count, in, out) and so on.

    Before any is kept, all are the state of the start.
    """

    kept: Tensor

    def __init__(self, network: StackedMLP, length: int) -> None:
        super().__init__()
        self.length = length
        self.depth, self.count = len(network.weights), len(network.weights[0])
        self.register_buffer("kept", torch.zeros((), dtype=torch.int64))
        for number, state in enumerate((*network.weights, *network.biases)):
            self.register_buffer(f"state_{number}", state.detach().expand(length, *state.shape).clone())

    @torch.no_grad()
    def keep(self, network: StackedMLP) -> None:
        """Take a state in, the oldest out."""
        for number, state in enumerate((*network.weights, *network.biases)):
            getattr(self, f"state_{number}")[int(self.kept) % self.length] = state
        self.kept += 1

    def forward(self, z: Tensor, chosen: Tensor) -> Tensor:
        """z (N, in) -> (N, out), each by the state chosen (N,) int64 of the length * count kept."""
        states = [getattr(self, f"state_{number}").flatten(0, 1)[chosen] for number in range(2 * self.depth)]
        z = z[:, None]
        for place, (weight, bias) in enumerate(zip(states[: self.depth], states[self.depth :], strict=True)):
            z = torch.baddbmm(bias[:, None], z if place == 0 else leaky_relu(z, 0.2), weight)
        return z[:, 0]
