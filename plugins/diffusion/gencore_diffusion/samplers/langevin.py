"""Annealed Langevin dynamics, and the step that keeps its noise level consistent.

With D the model's x0 at (x, s) and score = (D - x) / s^2:

    annealed    x <- x + a/2 score + sqrt(a) z,  a = step_size s^2, `steps_per_level` times at each of the levels
    consistent  x <- x + eta s^2 score + sqrt(t^2 - (1 - eta)^2 s^2) z, once from level s to the next, t
and a last denoising x <- D. Annealed: Song & Ermon 2019, arXiv:1907.05600, Algorithm 1; its epsilon / sigma_L^2 is
`step_size`, 0.2 in the paper. Consistent: Jolicoeur-Martineau et al. 2020, "Adversarial score matching and improved
sampling for image generation", arXiv:2009.05475, Algorithm 2: Langevin leaves a sample noisier than the level says, the
consistent step does not.
"""

from __future__ import annotations

import dataclasses
import math

from torch import Tensor

from gencore import Noise
from gencore.config import check
from gencore.errors import GencoreError
from gencore_diffusion.parts.denoiser import Denoises
from gencore_diffusion.samplers.sampling import DiffusionSampler, OneStepSampler, walk
from gencore_diffusion.samplers.stepping import Callback, Step, Stepper


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AnnealedLangevinSampler(DiffusionSampler):
    """`steps` levels of `steps_per_level` Langevin steps each."""

    steps: int = 10
    steps_per_level: int = 100
    step_size: float = 0.2

    def __post_init__(self) -> None:
        DiffusionSampler.__post_init__(self)
        check(self.steps_per_level >= 1, "steps_per_level", self.steps_per_level, "at least 1")
        check(0 < self.step_size < 2, "step_size", self.step_size, "a number between 0 and 2: 2 and above diverge")

    def _solve(
        self,
        model: Denoises,
        x: Tensor,
        sigmas: list[float],
        noise: Noise | None,
        condition: Tensor | None,
        callback: Callback | None,
    ) -> Tensor:
        share = self.step_size / 2
        levels = sigmas[:-1]
        plan = [
            Step(sigma, share, 1 - share, math.sqrt(self.step_size) * sigma)
            for sigma in levels
            for _ in range(self.steps_per_level)
        ]
        if sigmas[-1] == 0:
            plan.append(Step(levels[-1], 1.0, 0.0))
        return walk(Stepper(model, plan, x, condition, self.settings), x, noise, callback)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConsistentAnnealedSampler(OneStepSampler):
    """One step a level; the noise left after it is exactly that of the next. `eta` 1 - t/s draws none: Euler."""

    steps: int = 100
    eta: float = 0.5

    def __post_init__(self) -> None:
        DiffusionSampler.__post_init__(self)
        check(0 < self.eta <= 1, "eta", self.eta, "a number in (0, 1]")

    def step(self, sigma: float, following: float) -> Step:
        """Algorithm 2 of the paper; to level 0, D."""
        if following == 0:
            return Step(sigma, 1.0, 0.0)
        left = (1 - self.eta) * sigma
        if left > following * (1 + 1e-9):
            raise GencoreError(
                f"eta is {self.eta}, which leaves noise of {left:.4g} where the next level is {following:.4g}: take "
                f"eta >= {1 - following / sigma:.4g}, or more steps."
            )
        return Step(sigma, self.eta, 1 - self.eta, math.sqrt(max(0.0, following**2 - left**2)))
