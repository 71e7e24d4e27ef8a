"""Terms of the critic's loss that look at the critic as a function: its slope, at data, at samples or between.

gradient penalty   weight E_u (||grad_u D(u)|| - center)^2, u = t x + (1 - t) G(z), t ~ U[0, 1]
                   (Gulrajani et al. 2017, arXiv:1704.00028, equation 3)
R1                 weight / 2 E_x ||grad_x D(x)||^2           (Mescheder et al. 2018, arXiv:1801.04406, equation 9)
R2                 weight / 2 E_z ||grad D(G(z))||^2          (the same, equation 10)
drift              weight E_x D(x)^2                          (Karras et al. 2018, arXiv:1710.10196, appendix A.1)
Roth               weight / 2 { E_x (1 - s(D(x)))^2 ||grad_x D(x)||^2 + E_z s(D(G(z)))^2 ||grad D(G(z))||^2 }, with D
                   the logit and s the sigmoid   (Roth et al. 2017, arXiv:1705.09367, equations 20 and 21)
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


def judged_with_slopes(judge: Judge, points: Tensor) -> tuple[Tensor, Tensor]:
    """D(u) and grad_u D(u) at points u (N, ...): (N, ...) and as points, both differentiable again."""
    points = points.detach().requires_grad_()
    judged = judge(points)
    (slope,) = torch.autograd.grad(judged.sum(), points, create_graph=True)
    return judged, slope


def squared_gradient_norms(judge: Judge, points: Tensor) -> Tensor:
    """||grad_u D(u)||^2 for each of points (N, ...), (N,), differentiable again."""
    return judged_with_slopes(judge, points)[1].flatten(1).square().sum(1)


def gradient_norms(judge: Judge, points: Tensor) -> Tensor:
    """||grad_u D(u)|| for each of points (N, ...), (N,), differentiable again."""
    return judged_with_slopes(judge, points)[1].flatten(1).norm(dim=1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GradientPenalty:
    """weight E_u (||grad_u D(u)|| - center)^2 on the segments between real and generated examples.

    Logs `slope`: mean length of that gradient; neither way is better: it should stay near the center.
    """

    weight: float = 10.0
    center: float = 1.0

    def __call__(self, judge: Judge, real: Tensor, fake: Tensor) -> Loss:
        """The penalty, and the mean norm as a metric."""
        share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
        norms = gradient_norms(judge, torch.lerp(fake, real, share))
        return Loss(self.weight * (norms - self.center).square().mean(), {"slope": norms.detach().mean()})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class R1:
    """weight / 2 E_x ||grad_x D(x)||^2 on real examples.

    Logs `r1`: mean squared slope of the critic at data; lower is better, and 0 is a critic that says nothing.
    """

    weight: float = 10.0

    def __post_init__(self) -> None:
        check(self.weight >= 0, "weight", self.weight, "0 or more")

    def __call__(self, judge: Judge, real: Tensor, fake: Tensor) -> Loss:
        """The penalty, and E ||grad D||^2 as a metric."""
        squares = squared_gradient_norms(judge, real).mean()
        return Loss(0.5 * self.weight * squares, {"r1": squares.detach()})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class R2:
    """weight / 2 E_z ||grad D(G(z))||^2 on generated examples.

    Logs `r2`: mean squared slope of the critic at generated examples; lower is better, and 0 is a critic that says
    nothing.
    """

    weight: float = 10.0

    def __post_init__(self) -> None:
        check(self.weight >= 0, "weight", self.weight, "0 or more")

    def __call__(self, judge: Judge, real: Tensor, fake: Tensor) -> Loss:
        """The penalty, and E ||grad D||^2 as a metric."""
        squares = squared_gradient_norms(judge, fake).mean()
        return Loss(0.5 * self.weight * squares, {"r2": squares.detach()})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Roth:
    """weight / 2 { E_x (1 - s(D))^2 ||grad D||^2 + E_z s(D)^2 ||grad D||^2 }, from logits (N,).

    What training on noisy examples does on the average, to first order in the noise's variance `weight`. Where
    D = 0 it is a quarter of R1 + R2.

    Logs `roth`: the two terms in braces; lower is better, and 0 is a critic that says nothing.
    """

    weight: float = 0.1

    def __post_init__(self) -> None:
        check(self.weight >= 0, "weight", self.weight, "0 or more")

    def __call__(self, judge: Judge, real: Tensor, fake: Tensor) -> Loss:
        """The penalty, and the sum of the two expectations as a metric."""
        both = _confused_slope(judge, real, -1.0) + _confused_slope(judge, fake, 1.0)
        return Loss(0.5 * self.weight * both, {"roth": both.detach()})


def _confused_slope(judge: Judge, points: Tensor, sign: float) -> Tensor:
    """E s(sign D)^2 ||grad D||^2: how sure the critic is of the other side, times its slope."""
    judged, slope = judged_with_slopes(judge, points)
    return (torch.sigmoid(sign * judged).square() * slope.flatten(1).square().sum(1)).mean()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """weight E_x D(x)^2: keeps the level of a Wasserstein critic, which its game leaves free, near 0.

    Logs `drift`: mean square of the critic's scores of data; lower is better.
    """

    weight: float = 0.001

    def __post_init__(self) -> None:
        check(self.weight >= 0, "weight", self.weight, "0 or more")

    def __call__(self, judge: Judge, real: Tensor, fake: Tensor) -> Loss:
        """The penalty, and E D(x)^2 as a metric."""
        squares = judge(real).square().mean()
        return Loss(self.weight * squares, {"drift": squares.detach()})
