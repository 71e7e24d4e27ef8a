"""What a network predicts, as two numbers: x0 = skip x + out F, for x = x0 + sigma eps.

Everything in this family lives in the coordinates of Karras et al. 2022 (arXiv:2206.00364, equation 7): x is the clean
sample plus noise of standard deviation sigma, unscaled. The variance-preserving sample of DDPM is x / sqrt(1 + sigma^2)
with alpha-bar = 1 / (1 + sigma^2). In these coordinates every prediction target is linear in (x, x0):

    x0      F = x0                                     skip 0                out 1
    eps     F = eps                                    skip 1                out -sigma
    v       F = alpha eps - sqrt(1 - alpha^2) x0       skip 1/(1 + sigma^2)  out -sigma / sqrt(1 + sigma^2)
    score   F = grad log p(x; sigma) = -eps / sigma    skip 1                out sigma^2
with alpha^2 = alpha-bar. v: Salimans & Ho 2022, arXiv:2202.00512, appendix D; score: Vincent 2011.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from gencore.errors import GencoreError, suggest

Parametrization = Literal["x0", "eps", "v", "score"]
PARAMETRIZATIONS: tuple[str, ...] = get_args(Parametrization)


class Scalings(NamedTuple):
    """x0 = skip x + out F. Tensors of sigma's shape and dtype."""

    skip: Tensor
    out: Tensor


def scalings(parametrization: Parametrization, sigma: Tensor) -> Scalings:
    """The two numbers for noise of standard deviation sigma > 0, any shape. Raises GencoreError for another name."""
    zero, one = torch.zeros_like(sigma), torch.ones_like(sigma)
    total = 1 + sigma.square()
    choices = {
        "x0": Scalings(zero, one),
        "eps": Scalings(one, -sigma),
        "v": Scalings(1 / total, -sigma / total.sqrt()),
        "score": Scalings(one, sigma.square()),
    }
    if parametrization not in choices:
        raise GencoreError(f"The parametrization is {parametrization!r}.{suggest(parametrization, choices)}")
    return choices[parametrization]


def preserving_scale(sigma: Tensor) -> Tensor:
    """1 / sqrt(1 + sigma^2): x times this is the variance-preserving sample that DDPM's networks are shown."""
    return (1 + sigma.square()).rsqrt()


def to_x0(value: Tensor, x: Tensor, coefficients: Scalings) -> Tensor:
    """The clean sample from a prediction F (N, ...) at x (N, ...)."""
    skip, out = (column(number, x) for number in coefficients)
    return skip * x + out * value


def from_x0(x0: Tensor, x: Tensor, coefficients: Scalings) -> Tensor:
    """The prediction F that stands for the clean sample x0: what a network is trained towards."""
    skip, out = (column(number, x) for number in coefficients)
    return (x0 - skip * x) / out


def convert(value: Tensor, x: Tensor, sigma: Tensor, *, source: Parametrization, target: Parametrization) -> Tensor:
    """A prediction in another parametrization: value and x (N, ...), sigma > 0, a scalar or (N,)."""
    return from_x0(to_x0(value, x, scalings(source, sigma)), x, scalings(target, sigma))


def column(numbers: Tensor, x: Tensor) -> Tensor:
    """A scalar or (N,) numbers, in x's dtype, shaped to multiply x (N, ...)."""
    return numbers.to(x.dtype).reshape(-1, *[1] * (x.dim() - 1))
