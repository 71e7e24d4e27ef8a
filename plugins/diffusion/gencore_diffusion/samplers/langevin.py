"""Annealed Langevin dynamics, and the step that keeps its noise level consistent.

With D the model's x0 at (x, s) and score = (D - x) / s^2:

    annealed    x <- x + a/2 score + sqrt(a) z,  a = step_size s^2, `steps_per_level` times at each of the levels
    consistent  x <- x + eta s^2 score + sqrt(t^2 - (1 - eta)^2 s^2) z, once from level s to the next, t
and a last denoising x <- D. Annealed: Song & Ermon 2019, arXiv:1907.05600, Algorithm 1; its epsilon / sigma_L^2 is
`step_size`, 0.2 in the paper. Consistent: Jolicoeur-Martineau et al. 2020, "Adversarial score matching and improved
sampling for image generation", arXiv:2009.05475, Algorithm 2: Langevin leaves a sample noisier than the level says, the
consistent step does not.

How many steps of which size follows from the ratio g of two levels. For data of no width (Song & Ermon 2020,
arXiv:2006.09011, section 3.4) T steps at a level shrink what is left of the noise before by c = (1 - a / 2 s^2)^2T, and
their own settles at v = 1 / (1 - a / 4 s^2) times the level's variance; a settled chain has V = c g^2 V + (1 - c) v
times it, which large steps make too much. Data of deviation d shrink by a / 2 (s^2 + d^2) only, so that below s = d the
chain freezes with more than their variance, which small or few steps make too much: `frozen_variance`. The size is the
largest whose V is at most EXCESS, T the least that keeps the other within it, too.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from gencore import Noise
from gencore.config import check
from gencore.errors import GencoreError
from gencore_diffusion.parts.denoiser import Denoises
from gencore_diffusion.samplers.sampling import DiffusionSampler, OneStepSampler, walk
from gencore_diffusion.samplers.stepping import Callback, Step, Stepper

EXCESS = 1.1
"""Of a variance, that is good enough: samples 5 % too wide."""
SIZES = tuple(0.01 * 1.1**k for k in range(52))
"""Step sizes that are tried, 0.01 to 1.3."""
MOST_STEPS = 100
"""A level, as in the paper of 2019: where that does not do, the model has too few levels."""


def settled_variance(ratio: float, steps: int, step_size: float) -> float:
    """V of the equation above, for levels of that ratio; infinity where the chain falls ever further behind."""
    shrink = step_size / 2
    kept = (1 - shrink) ** (2 * steps)
    if kept * ratio**2 >= 1:
        return math.inf
    return (1 - kept) / (1 - shrink / 2) / (1 - kept * ratio**2)


def frozen_variance(ratio: float, steps: int, step_size: float) -> float:
    """The variance with which a chain ends where the data are Gaussian, of variance 1, and the score is exact; from far
    above their width to far below it, by levels of that ratio."""
    sigma, variance = 100.0, 1 + 100.0**2
    while sigma > 1e-3:
        shrink = step_size / 2 * sigma**2 / (1 + sigma**2)
        kept = (1 - shrink) ** (2 * steps)
        variance = kept * variance + (1 - kept) * step_size * sigma**2 / (1 - (1 - shrink) ** 2)
        sigma /= ratio
    return variance


@functools.cache
def best_step_size(ratio: float, steps: int) -> float:
    """The largest whose V is at most EXCESS; where there is none, that of the least V."""
    settled = {size: settled_variance(ratio, steps, size) for size in SIZES}
    return max((size for size in SIZES if settled[size] <= EXCESS), default=min(SIZES, key=settled.__getitem__))


@functools.cache
def needed_steps(ratio: float, step_size: float | None = None) -> int:
    """The fewest steps a level that keep both variances within EXCESS, but at most MOST_STEPS; the first is not asked
    of a size that is given and cannot."""
    for steps in range(1, MOST_STEPS):
        size = best_step_size(ratio, steps) if step_size is None else step_size
        fits = step_size is not None or settled_variance(ratio, steps, size) <= EXCESS
        if fits and frozen_variance(ratio, steps, size) <= EXCESS:
            return steps
    return MOST_STEPS


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AnnealedLangevinSampler(DiffusionSampler):
    """`steps` levels of `steps_per_level` Langevin steps each. None: what the widest gap between two levels asks; a
    lone level gets the 100 steps of size 0.2 of the paper of 2019."""

    steps: int = 10
    steps_per_level: int | None = None
    step_size: float | None = None

    def __post_init__(self) -> None:
        DiffusionSampler.__post_init__(self)
        per_level, size = self.steps_per_level, self.step_size
        check(per_level is None or per_level >= 1, "steps_per_level", per_level, "at least 1")
        check(size is None or 0 < size < 2, "step_size", size, "a number between 0 and 2: 2 and above diverge")

    def schedule(self, levels: Sequence[float]) -> tuple[int, float]:
        """Steps a level and their size, for these falling levels."""
        ratio = max((round(high / low, 6) for high, low in pairwise(levels)), default=1.0)
        if ratio == 1:
            return self.steps_per_level or 100, self.step_size or 0.2
        steps = self.steps_per_level or needed_steps(ratio, self.step_size)
        return steps, self.step_size or best_step_size(ratio, steps)

    def _solve(
        self,
        model: Denoises,
        x: Tensor,
        sigmas: list[float],
        noise: Noise | None,
        condition: Tensor | None,
        callback: Callback | None,
    ) -> Tensor:
        levels = sigmas[:-1]
        per_level, size = self.schedule(levels)
        share = size / 2
        plan = [Step(sigma, share, 1 - share, math.sqrt(size) * sigma) for sigma in levels for _ in range(per_level)]
        if sigmas[-1] == 0:
            plan.append(Step(levels[-1], 1.0, 0.0))
        return walk(Stepper(model, plan, x, condition, self.settings), x, noise, callback)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConsistentAnnealedSampler(OneStepSampler):
    """One step a level; the noise left after it is exactly that of the next. `eta` 1 - t/s draws none: Euler.

    None: 1 - (t/s)^2. A step loses eta^2 s^2 d^2 / (s^2 + d^2) of the data's own variance d^2, to the second order, so
    that a constant eta narrows the samples however many levels there are; this one shrinks with their spacing.
    """

    steps: int = 100
    eta: float | None = None

    def __post_init__(self) -> None:
        DiffusionSampler.__post_init__(self)
        check(self.eta is None or 0 < self.eta <= 1, "eta", self.eta, "a number in (0, 1], or null")

    def step(self, sigma: float, following: float) -> Step:
        """Algorithm 2 of the paper; to level 0, D."""
        if following == 0:
            return Step(sigma, 1.0, 0.0)
        eta = 1 - (following / sigma) ** 2 if self.eta is None else self.eta
        left = (1 - eta) * sigma
        if left > following * (1 + 1e-9):
            raise GencoreError(
                f"eta is {eta}, which leaves noise of {left:.4g} where the next level is {following:.4g}: take "
                f"eta >= {1 - following / sigma:.4g}, or more steps."
            )
        return Step(sigma, eta, 1 - eta, math.sqrt(max(0.0, following**2 - left**2)))
