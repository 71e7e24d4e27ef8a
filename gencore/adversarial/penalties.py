"""Terms of the critic's loss that look at the critic as a function: its slope, at data, at samples or between.

gradient penalty   weight E_u (||grad_u D(u)|| - center)^2, u = t x + (1 - t) G(z), t ~ U[0, 1]
                   (Gulrajani et al. 2017, arXiv:1704.00028, equation 3)
R1                 weight / 2 E_x ||grad_x D(x)||^2           (Mescheder et al. 2018, arXiv:1801.04406, equation 9)
R2                 weight / 2 E_z ||grad D(G(z))||^2          (the same, equation 10)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from gencore.config import check
from gencore.objective import Loss

Judge = Callable[[Tensor], Tensor]


class Penalty(Protocol):
    """A weighted term of the critic's loss."""

    def __call__(self, judge: Judge, real: Tensor, fake: Tensor) -> Loss:
        """The term, from the critic and as many real as generated examples (N, ...)."""
        ...


def squared_gradient_norms(judge: Judge, points: Tensor) -> Tensor:
    """||grad_u D(u)||^2 for each of points (N, ...), (N,), differentiable again."""
    points = points.detach().requires_grad_()
    (slope,) = torch.autograd.grad(judge(points).sum(), points, create_graph=True)
    return slope.flatten(1).square().sum(1)


def gradient_norms(judge: Judge, points: Tensor) -> Tensor:
    """||grad_u D(u)|| for each of points (N, ...), (N,), differentiable again."""
    points = points.detach().requires_grad_()
    (slope,) = torch.autograd.grad(judge(points).sum(), points, create_graph=True)
    return slope.flatten(1).norm(dim=1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GradientPenalty:
    """weight E_u (||grad_u D(u)|| - center)^2 on the segments between real and generated examples."""

    weight: float = 10.0
    center: float = 1.0

    def __call__(self, judge: Judge, real: Tensor, fake: Tensor) -> Loss:
        """The penalty, and the mean norm as a metric."""
        share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
        norms = gradient_norms(judge, torch.lerp(fake, real, share))
        return Loss(self.weight * (norms - self.center).square().mean(), {"slope": norms.detach().mean()})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class R1:
    """weight / 2 E_x ||grad_x D(x)||^2 on real examples."""

    weight: float = 10.0

    def __post_init__(self) -> None:
        check(self.weight >= 0, "weight", self.weight, "0 or more")

    def __call__(self, judge: Judge, real: Tensor, fake: Tensor) -> Loss:
        """The penalty, and E ||grad D||^2 as a metric."""
        squares = squared_gradient_norms(judge, real).mean()
        return Loss(0.5 * self.weight * squares, {"r1": squares.detach()})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class R2:
    """weight / 2 E_z ||grad D(G(z))||^2 on generated examples."""

    weight: float = 10.0

    def __post_init__(self) -> None:
        check(self.weight >= 0, "weight", self.weight, "0 or more")

    def __call__(self, judge: Judge, real: Tensor, fake: Tensor) -> Loss:
        """The penalty, and E ||grad D||^2 as a metric."""
        squares = squared_gradient_norms(judge, fake).mean()
        return Loss(0.5 * self.weight * squares, {"r2": squares.detach()})
