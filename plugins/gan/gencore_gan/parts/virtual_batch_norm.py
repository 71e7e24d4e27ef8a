"""Virtual batch normalisation (Salimans et al. 2016, arXiv:1606.03498, section 3.5).

Each example is normalised by the statistics of a reference batch, chosen once and fixed, and of itself; the reference
batch by its own statistics only. So what one example gives does not depend on the others of its batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VirtualBatchNorm(nn.Module):
    """Batch normalisation of rows that follow `references` reference rows, with a scale and a shift a channel."""

    def __init__(self, channels: int, references: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.references, self.eps = references, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x (references + N, C, H, W), the reference rows first -> the same shape."""
        reference, rest = x[: self.references], x[self.references :]
        variance, mean = torch.var_mean(reference, (0, 2, 3), correction=0, keepdim=True)
        own_variance, own_mean = torch.var_mean(rest, (2, 3), correction=0, keepdim=True)
        share = 1 / (self.references + 1)
        both_mean = torch.lerp(mean.expand_as(own_mean), own_mean, share)
        both_variance = torch.lerp(
            variance + (mean - both_mean).square(), own_variance + (own_mean - both_mean).square(), share
        )
        reference = (reference - mean) * (variance + self.eps).rsqrt()
        rest = (rest - both_mean) * (both_variance + self.eps).rsqrt()
        return torch.cat([reference, rest]) * self.weight[:, None, None] + self.bias[:, None, None]


class VirtuallyNormalised(nn.Module):
    """`layers` with virtual batch normalisation in place of batch normalisation, and the reference batch beside them.

    `reference`: inputs of the layers (R, ...), kept with the model.
    """

    def __init__(self, layers: nn.Sequential, reference: Tensor) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(_virtual(layer, len(reference)) for layer in layers))
        self.reference: Tensor
        self.register_buffer("reference", reference)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, ...) -> what the layers make of it, (N, ...); costs the reference batch on top."""
        passed: Tensor = self.layers(torch.cat([self.reference.to(x.dtype), x]))
        return passed[len(self.reference) :]


def _virtual(layer: nn.Module, references: int) -> nn.Module:
    if not isinstance(layer, nn.BatchNorm2d):
        return layer
    virtual = VirtualBatchNorm(layer.num_features, references, eps=layer.eps)
    virtual.weight, virtual.bias = layer.weight, layer.bias
    return virtual
