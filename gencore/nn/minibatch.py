"""Layers that let a critic see its whole batch: against a generator that makes one thing only."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from gencore_kernels.minibatch_discrimination import minibatch_discrimination
from gencore_kernels.minibatch_stddev import minibatch_stddev


class MinibatchDiscrimination(nn.Module):
    """Appends to each example's features how near it is to the others of the batch.

    Salimans et al. 2016 (arXiv:1606.03498), section 3.2: M = x T, c_b(i, j) = exp(-||M_ib - M_jb||_1),
    o_ib = sum_j c_b(i, j). Twice differentiable, so that a gradient penalty may go through it.
    """

    def __init__(self, features: int, kernels: int = 32, kernel_dim: int = 5, *, include_self: bool = True) -> None:
        super().__init__()
        self.kernels, self.include_self = kernels, include_self
        self.projection = nn.Parameter(torch.randn(features, kernels * kernel_dim) / features**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, features) -> (N, features + kernels)."""
        m = rearrange(x @ self.projection, "n (b c) -> n b c", b=self.kernels)
        return torch.cat([x, minibatch_discrimination(m, include_self=self.include_self)], 1)


class MinibatchStddev(nn.Module):
    """Appends a feature map that holds the mean standard deviation over a group of examples.

    Karras et al. 2018 (arXiv:1710.10196), section 3; groups as in StyleGAN. Twice differentiable.
    """

    def __init__(self, group_size: int = 4, num_features: int = 1) -> None:
        super().__init__()
        self.group_size, self.num_features = group_size, num_features

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) -> (N, C + num_features, H, W)."""
        return minibatch_stddev(x, self.group_size, self.num_features)
