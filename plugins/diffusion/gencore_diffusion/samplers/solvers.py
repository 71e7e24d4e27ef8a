"""The solvers of diffusion: ancestral, DDIM, Euler, Heun, DPM-Solver++. Any of them runs any model of the family.

All move x from a higher noise level s to a lower one t (both standard deviations, x = x0 + s eps), with D the model's
x0 at (x, s) and r = t / s:

    DDPM         x = r^2 x + (1 - r^2) D + t sqrt(1 - r^2) z    posterior variance; others: reverse_variance
    DDIM(eta)    x = r' x + (1 - r') D + u z,  u = eta t sqrt(1 - r^2),  r' = sqrt(t^2 - u^2) / s
    Euler        x = r x + (1 - r) D                            dx/ds = (x - D) / s
    Heun         trapezoid over an Euler step, after `churn` adds noise; the last step, to 0, is Euler's
    DPM++(2M)    x = r x + (1 - r) ((1 + c) D - c D'),  c = h / (2 h'),  h = log(s / t), D' and h' of the step before
    DPM++(2M) SDE   x = r e^-k x + (1 - r e^-k) ((1 + c) D - c D') + t sqrt(1 - e^-2k) z,  k = eta h

Papers: Ho et al. 2020, arXiv:2006.11239, eq. 6, 7; Song et al. 2021, arXiv:2010.02502, eq. 12, 16; Karras et al. 2022,
arXiv:2206.00364, Algorithms 1, 2; Lu et al. 2022, arXiv:2211.01095, Algorithm 2 and section 5 (SDE). In the
variance-preserving coordinates of the first two these are the papers' own equations, divided by sqrt(alpha-bar).
`order` is declared by each and measured by tests.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, get_args

import torch
from torch import Tensor

from gencore import Noise
from gencore.config import check
from gencore_diffusion.parts.denoiser import Denoises
from gencore_diffusion.parts.reverse_variance import Variance, ancestral_noise, check_learned, log_bounds
from gencore_diffusion.samplers.sampling import DiffusionSampler, OneStepSampler, drawn, report
from gencore_diffusion.samplers.stepping import Callback, Step, Stepper, advance_two
from gencore_kernels.diffusion_step import StepRow, stack_rows


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DDPMSampler(OneStepSampler):
    """Ancestral sampling. `variance`: the posterior's, or beta (upper bound), section 3.2 of the DDPM paper; "learned":
    the model's own, where it was trained to tell one."""

    variance: Variance = "posterior"
    order: ClassVar[int | None] = 1

    def __post_init__(self) -> None:
        DiffusionSampler.__post_init__(self)
        known = get_args(Variance)
        check(self.variance in known, "variance", self.variance, ", ".join(f'"{name}"' for name in known))

    def step(self, sigma: float, following: float) -> Step:
        """Equations 6 and 7; with a learned variance, the share of it that is drawn: all, at the last step nothing."""
        kept = (following / sigma) ** 2
        if self.variance == "learned":
            return Step(sigma, 1 - kept, kept, float(following > 0))
        return Step(sigma, 1 - kept, kept, ancestral_noise(sigma, following, self.variance))

    def stepper(self, model: Denoises, x: Tensor, sigmas: Sequence[float], condition: Tensor | None) -> Stepper:
        """Raises GencoreError for a learned variance that the model does not have."""
        if self.variance != "learned":
            return OneStepSampler.stepper(self, model, x, sigmas, condition)
        check_learned(model)
        plan = [self.step(*pair) for pair in pairwise(sigmas)]
        return Stepper(model, plan, x, condition, self.settings, bounds=log_bounds(sigmas))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DDIMSampler(OneStepSampler):
    """eta = 0 is deterministic, 1 draws as much noise as DDPM's posterior."""

    eta: float = 0.0
    order: ClassVar[int | None] = 1

    def __post_init__(self) -> None:
        DiffusionSampler.__post_init__(self)
        check(0 <= self.eta <= 1, "eta", self.eta, "a number in [0, 1]")

    def step(self, sigma: float, following: float) -> Step:
        """Equations 12 and 16."""
        drawn = self.eta * ancestral_noise(sigma, following, "posterior")
        kept = math.sqrt(max(0.0, following**2 - drawn**2)) / sigma
        return Step(sigma, 1 - kept, kept, drawn)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EulerSampler(OneStepSampler):
    """The probability-flow ODE by Euler's method."""

    order: ClassVar[int | None] = 1

    def step(self, sigma: float, following: float) -> Step:
        """x + (t - s) (x - D) / s."""
        kept = 1 + (following - sigma) / sigma
        return Step(sigma, 1 - kept, kept)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HeunSampler(DiffusionSampler):
    """EDM's second-order sampler (Algorithm 2). `churn` is S_churn, spread over the steps within [S_min, S_max] =
    `churn_range`; `churn_noise` is S_noise. Noise never rises above the model's sigma_max. 2 steps - 1 evaluations."""

    steps: int = 18
    churn: float = 0.0
    churn_range: tuple[float, float] = (0.05, 50.0)
    churn_noise: float = 1.003
    order: ClassVar[int | None] = 2

    def __post_init__(self) -> None:
        DiffusionSampler.__post_init__(self)
        check(0 <= self.churn < math.inf, "churn", self.churn, "0 or more")
        low, high = self.churn_range
        check(0 <= low <= high, "churn_range", self.churn_range, "0 <= lowest <= highest")
        check(self.churn_noise > 0, "churn_noise", self.churn_noise, "a positive number")

    def raised(self, model: Denoises, sigma: float, steps: int) -> float:
        """The noise level after churn: sigma (1 + gamma), equation in Algorithm 2, line 4 to 5."""
        low, high = self.churn_range
        gamma = min(self.churn / steps, math.sqrt(2) - 1) if low <= sigma <= high else 0.0
        return max(sigma, min(sigma * (1 + gamma), model.sigma_max))

    def _solve(
        self,
        model: Denoises,
        x: Tensor,
        sigmas: list[float],
        noise: Noise | None,
        condition: Tensor | None,
        callback: Callback | None,
    ) -> Tensor:
        steps = len(sigmas) - 1
        starts = [self.raised(model, sigma, steps) for sigma in sigmas[:-1]]
        stepper = Stepper(model, heun_plan(starts, sigmas[1:]), x, condition, self.settings)
        place = 0
        for step, (start, (sigma, end)) in enumerate(zip(starts, pairwise(sigmas), strict=True)):
            if start > sigma:
                added = self.churn_noise * math.sqrt(start**2 - sigma**2)
                x = x.add(drawn(noise, x), alpha=added)
            ahead = stepper(x, place)
            x = stepper(ahead, place + 1, x) if end else ahead
            place += 2
            report(callback, step + 1, steps)
        stepper.finish()
        return x


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MultistepSampler(DiffusionSampler):
    """DPM-Solver++(2M), data prediction: second order over two steps; the first, and a last to 0, are first order."""

    steps: int = 20
    order: ClassVar[int | None] = 2
    eta: ClassVar[float]

    def _solve(
        self,
        model: Denoises,
        x: Tensor,
        sigmas: list[float],
        noise: Noise | None,
        condition: Tensor | None,
        callback: Callback | None,
    ) -> Tensor:
        estimate = [Step(sigma, 1.0, 0.0) for sigma in sigmas[:-1]]
        stepper = Stepper(model, estimate, x, condition, self.settings)
        updates = two_step_updates(sigmas, self.eta)
        table = stack_rows(StepRow(0.0, 1.0, step.p0, step.px, 0.0, step.other) for step in updates).to(x.device)
        before = torch.zeros_like(x)
        for place, (sigma, following) in enumerate(pairwise(sigmas)):
            x, before = stepper.run(advance_two, x, before, place, table)
            if self.eta and following:
                x = x.add(drawn(noise, x), alpha=fresh_noise(self.eta, sigma, following))
            report(callback, place + 1, len(updates))
        stepper.finish()
        return x


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DPMSolverSampler(MultistepSampler):
    """DPM-Solver++(2M) of the probability-flow ODE: deterministic."""

    eta: ClassVar[float] = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DPMSolverSDESampler(MultistepSampler):
    """DPM-Solver++(2M) of the reverse SDE: fresh noise at each step, which corrects earlier errors."""

    eta: ClassVar[float] = 1.0


def two_step_updates(sigmas: list[float], eta: float) -> list[Step]:
    """The combinations of (D, x, D of the step before) for every step; the last to 0 is D."""
    updates, previous = [], 0.0
    for sigma, following in pairwise(sigmas):
        size = math.log(sigma / following) if following else math.inf
        kept = (following / sigma) ** (1 + eta)
        bend = size / (2 * previous) if previous and following else 0.0
        updates.append(Step(sigma, (1 - kept) * (1 + bend), kept, -(1 - kept) * bend))
        previous = size
    return updates


def fresh_noise(eta: float, sigma: float, following: float) -> float:
    """Standard deviation of the noise that the SDE sampler draws: t sqrt(1 - (t / s)^(2 eta))."""
    return following * math.sqrt(1 - (following / sigma) ** (2 * eta))


def heun_plan(starts: list[float], ends: list[float]) -> list[Step]:
    """An Euler step, then its correction; no correction to 0."""
    plan: list[Step] = []
    for start, end in zip(starts, ends, strict=True):
        plan += [EulerSampler().step(start, end), *([trapezoid(start, end)] if end else [])]
    return plan


def trapezoid(sigma: float, following: float) -> Step:
    """Heun's correction, seen from the Euler step's result x' with the old x as third tensor.

    x + (t - s)/2 (d + d'), d = (x' - x)/(t - s), d' = (x' - D')/t  =  x/2 + x' (2t - s)/(2t) + D' (s - t)/(2t).
    """
    return Step(following, (sigma - following) / (2 * following), (2 * following - sigma) / (2 * following), 0.5)
