"""What every sampler of the family is: a frozen config, and a pure function of (model, x, sigmas, noise).

x = x0 + sigma eps throughout (`gencore_diffusion.parts.parametrization`), so that a sampler knows nothing of what the
network predicts or how its schedule is called.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gencore import Noise
from gencore.config import check
from gencore.errors import GencoreError
from gencore_diffusion.parts.denoiser import Denoises
from gencore_diffusion.parts.schedules import check_sigmas, karras
from gencore_diffusion.samplers.stepping import Callback, Settings, Step, Stepper, check_guidance


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionSampler(abc.ABC):
    """What every sampler of the family has. `sample` draws the prior and calls `solve`."""

    steps: int = 50
    """Noise levels visited; each costs one evaluation of the model, two for Heun."""
    guidance: float = 1.0
    """Classifier-free: 0 ignores the label, 1 obeys it, more exaggerates it. 1 + w of Ho & Salimans."""
    clip: float | None = None
    """Clamp x0 to [-clip, clip] at each step: 1 for images."""
    threshold: float | None = None
    """Quantile of dynamic thresholding, 0.995 in the paper; `clip` is then the largest scale."""
    grid: Literal["model", "karras"] = "model"
    """The model's own noise levels, or Karras' with rho = 7 in the model's range."""

    order: ClassVar[int | None] = None
    """Global order of convergence: of the flow, or of mean and variance where noise is drawn. None: no solver."""

    def __post_init__(self) -> None:
        check(self.steps >= 1, "steps", self.steps, "at least 1")
        check(math.isfinite(self.guidance), "guidance", self.guidance, "a finite number: 0 ignores the label, 1 obeys")
        check(self.clip is None or self.clip > 0, "clip", self.clip, "a positive number, or null")
        check(self.threshold is None or 0 <= self.threshold <= 1, "threshold", self.threshold, "in [0, 1], or null")
        check(self.grid in ("model", "karras"), "grid", self.grid, '"model" or "karras"')

    @property
    def settings(self) -> Settings:
        """How x0 is made."""
        return Settings(guidance=self.guidance, clip=self.clip, threshold=self.threshold)

    def sigmas(self, model: Denoises) -> list[float]:
        """The noise levels for a model, falling; the last is 0."""
        if self.grid == "karras":
            return [*karras(model.sigma_max, model.sigma_min, self.steps), 0.0]
        return [*model.grid(self.steps), 0.0]

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """One example for each stream of noise: (count, *model.data_shape)."""
        check_model(self, model)
        check_guidance(self.guidance, condition)
        sigmas = self.sigmas(model)
        x = prior(model, noise, sigmas[0])
        return self.solve(model, x, sigmas, noise=noise, condition=condition, callback=callback)

    def solve(
        self,
        model: Denoises,
        x: Tensor,
        sigmas: Sequence[float],
        *,
        noise: Noise | None = None,
        condition: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """From x (N, ...) = x0 + sigmas[0] eps to noise level sigmas[-1], at which no model is asked.

        `noise` is needed by the samplers that draw some. Raises GencoreError for levels that do not fall or lie
        outside the model's range, NonFiniteError where the model yields NaN or infinity.
        """
        levels = check_sigmas(sigmas)
        check_range(model, levels)
        return self._solve(model, x, levels, noise, condition, callback)

    @abc.abstractmethod
    def _solve(
        self,
        model: Denoises,
        x: Tensor,
        sigmas: list[float],
        noise: Noise | None,
        condition: Tensor | None,
        callback: Callback | None,
    ) -> Tensor:
        """`solve` after its checks."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OneStepSampler(DiffusionSampler):
    """A sampler whose next state depends on the present one alone."""

    @abc.abstractmethod
    def step(self, sigma: float, following: float) -> Step:
        """The update from one noise level to the next."""

    def stepper(self, model: Denoises, x: Tensor, sigmas: Sequence[float], condition: Tensor | None) -> Stepper:
        """All steps along falling levels, for a batch like x."""
        return Stepper(model, [self.step(*pair) for pair in pairwise(sigmas)], x, condition, self.settings)

    def _solve(
        self,
        model: Denoises,
        x: Tensor,
        sigmas: list[float],
        noise: Noise | None,
        condition: Tensor | None,
        callback: Callback | None,
    ) -> Tensor:
        return walk(self.stepper(model, x, sigmas, condition), x, noise, callback)


def walk(stepper: Stepper, x: Tensor, noise: Noise | None, callback: Callback | None) -> Tensor:
    """All steps of a plan, each with fresh noise where it takes some."""
    for place, step in enumerate(stepper.plan):
        x = stepper(x, place, drawn(noise, x) if step.other else None)
        report(callback, place + 1, len(stepper.plan))
    stepper.finish()
    return x


def prior(model: Denoises, noise: Noise, sigma: float) -> Tensor:
    """Where sampling begins: (count, *data_shape) of standard deviation sigma, or sqrt(1 + sigma^2); of at least
    float32, which the steps keep: float16 ends at 65504, below ddpm's largest level, and bfloat16 has 8 bits."""
    normal = noise.normal(*model.data_shape)
    wide = normal.to(torch.promote_types(normal.dtype, torch.float32))
    return wide * (math.hypot(1.0, sigma) if model.preserves_variance else sigma)


def drawn(noise: Noise | None, x: Tensor) -> Tensor:
    """The next standard normal tensor of x's shape, dtype and device."""
    if noise is None:
        raise GencoreError("This sampler draws noise at its steps: pass noise=gencore.Noise(seed, 0, len(x)).")
    return noise.normal(*x.shape[1:]).to(x)


def check_range(model: Denoises, sigmas: Sequence[float]) -> None:
    """Raise GencoreError unless the levels at which the model is asked lie in the range that it was trained on."""
    asked = [sigma for sigma in sigmas if sigma > 0]
    slack = 1 + 1e-6
    if asked[0] > model.sigma_max * slack or asked[-1] < model.sigma_min / slack:
        raise GencoreError(
            f"sigmas run from {asked[0]:.6g} to {asked[-1]:.6g}, but this model was trained from "
            f"{model.sigma_max:.6g} to {model.sigma_min:.6g}: choose levels within that range, then 0."
        )


def check_model(sampler: object, model: Any) -> None:
    missing = [name for name in ("predict", "scalings", "labels", "grid") if not hasattr(model, name)]
    if missing:
        raise GencoreError(
            f"{type(sampler).__name__} needs a denoising model (system ddpm, ncsn or edm); {type(model).__name__} "
            f"has no {', '.join(missing)}."
        )


def report(callback: Callback | None, step: int, steps: int) -> None:
    if callback:
        callback(step, steps)
