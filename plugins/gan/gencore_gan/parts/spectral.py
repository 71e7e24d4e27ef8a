"""Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957, section 2.1 and Algorithm 1).

A layer's weight W, as a matrix (outputs, inputs), is divided by its largest singular value sigma(W). One round of the
power iteration from a stored vector u estimates it:
    v = W^T u / ||W^T u||,   u' = W v / ||W v||,   sigma = u'^T W v = ||W v||
u and v count as constants in the gradient. u' takes u's place after each step of the critic (`iterate`), not in the
forward pass, so that evaluating a loss changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from gencore.distributed import whole


@torch.no_grad()
def power_iteration(matrix: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """One round for matrix (O, I) from u (O,) -> u' (O,) and v (I,), of length 1."""
    v = normalize(matrix.T @ u, dim=0)
    return normalize(matrix @ v, dim=0), v


def spectrally_normalised(weight: Tensor, u: Tensor) -> Tensor:
    """weight (O, ...) / sigma, sigma estimated from u (O,); differentiable."""
    matrix = weight.flatten(1)
    following, v = power_iteration(matrix, u)
    return weight / torch.dot(following, matrix @ v)


class SpectralConv2d(nn.Conv2d):
    """A convolution with a spectrally normalised weight."""

    u: Tensor

    def __init__(self, channels: int, outputs: int, kernel_size: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(channels, outputs, kernel_size, stride, padding)
        self.register_buffer("u", normalize(torch.randn(outputs), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, outputs, H', W')."""
        return self._conv_forward(x, spectrally_normalised(self.weight, self.u), self.bias)


class SpectralLinear(nn.Linear):
    """A linear layer with a spectrally normalised weight."""

    u: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("u", normalize(torch.randn(outputs), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return linear(x, spectrally_normalised(self.weight, self.u), self.bias)


@torch.no_grad()
def iterate(module: nn.Module, rounds: int = 1) -> None:
    """`rounds` of the power iteration in every layer of `module` that is spectrally normalised."""
    for layer in module.modules():
        if isinstance(layer, SpectralConv2d | SpectralLinear):
            for _ in range(rounds):
                layer.u.copy_(power_iteration(whole(layer.weight).flatten(1), layer.u)[0])
