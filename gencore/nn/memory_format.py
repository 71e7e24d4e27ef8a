"""The order in which weights lie in memory."""

from __future__ import annotations

import torch
from torch import nn


def put_channels_last(model: nn.Module) -> None:
    """Lay the weights of 2-d convolutions out with their channels last; values and shapes stay.

    On a CPU, convolutions then take up to a fourth less time. What they return lies in the same order: flatten it
    with `flatten` or `reshape`, where `view` would refuse. Weights that are computed (weight norm, spectral norm) stay.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and "weight" in module._parameters:
            # `contiguous` would leave a single channel's strides as they are, and by them torch chooses its kernel.
            module.weight.data = module.weight.data.clone(memory_format=torch.channels_last)
