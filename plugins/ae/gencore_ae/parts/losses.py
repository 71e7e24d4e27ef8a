"""Reconstruction errors, (N,) each: summed over the numbers of an example.

    squared     ||x - xh||^2
    bernoulli   -sum_d [ b_d log s(u_d) + (1 - b_d) log(1 - s(u_d)) ],  b = (x + 1) / 2,  in nats

On binary data (x = -1 or 1) the second is -log p(x) of independent Bernoullis. On grey images it is not: its minimum,
at s(u) = b, is the entropy sum_d H(b_d) and not 0, and it is off by the normaliser of the continuous Bernoulli
(Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845). It trains autoencoders well; it is no likelihood there.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from gencore_ae.parts.networks import Autoencoder

Error = Literal["squared", "bernoulli"]


def squared_error(rebuilt: Tensor, x: Tensor) -> Tensor:
    """||x - xh||^2 of (N, ...) tensors, (N,)."""
    return (rebuilt - x).square().flatten(1).sum(1)


def bernoulli_error(logits: Tensor, x: Tensor) -> Tensor:
    """Cross-entropy in nats of the brightness (x + 1) / 2 under independent Bernoullis with `logits`, (N,)."""
    brightness = (x + 1) / 2
    return F.binary_cross_entropy_with_logits(logits, brightness, reduction="none").flatten(1).sum(1)


def reconstruction_error(model: Autoencoder, code: Tensor, x: Tensor, error: Error) -> Tensor:
    """The error of what `model` makes of `code` (N, code_dim) against x (N, *data_shape), (N,)."""
    if error == "squared":
        return squared_error(model.generate(code), x)
    return bernoulli_error(model.raw_output(code), x)
