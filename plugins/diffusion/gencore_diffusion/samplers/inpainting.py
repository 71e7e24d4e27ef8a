"""Inpainting by mask: after every step the known pixels are put back at the step's noise level.

    x <- mask (known + t z) + (1 - mask) step(x)
Song et al. 2021, arXiv:2011.13456, appendix I.2; with `rounds` > 1 each step is taken, undone by adding noise, x <- x +
sqrt(s^2 - t^2) z, and taken again: RePaint (Lugmayr et al. 2022, arXiv:2201.09865, Algorithm 1). Without it the unknown
pixels are biased towards their marginal: the known ones arrive too late to be heeded.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from gencore import Noise
from gencore.config import check
from gencore.errors import GencoreError
from gencore_diffusion.parts.schedules import check_sigmas
from gencore_diffusion.samplers.sampling import OneStepSampler, check_model, check_range, drawn, prior, report
from gencore_diffusion.samplers.solvers import DDPMSampler


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InpaintSampler:
    """Fill in what `mask` leaves open. `sampler` takes one-step samplers: ddpm, ddim, euler, consistent-annealed.

    known: (1, *data_shape) for all samples, or one for each, in the data's range. mask: the same shape or one that
    broadcasts to it, true where `known` is to be kept; those pixels are returned to the bit.
    """

    known: Tensor
    mask: Tensor
    rounds: int = 1
    sampler: OneStepSampler = dataclasses.field(default_factory=DDPMSampler)

    def __post_init__(self) -> None:
        check(self.rounds >= 1, "rounds", self.rounds, "at least 1")
        if not isinstance(self.sampler, OneStepSampler):
            raise GencoreError(
                f"Inpainting takes a one-step sampler, such as DDPMSampler or DDIMSampler; received a "
                f"{type(self.sampler).__name__}, whose inner states cannot be replaced."
            )
        if self.mask.dtype != torch.bool:
            raise GencoreError(f"mask is {self.mask.dtype}; expected bool, true for the pixels that are known.")
        if not self.known.isfinite().all():
            raise GencoreError("known holds NaN or infinity; put any finite value where the mask is false.")

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """One example for each stream of noise, equal to `known` where `mask` is true."""
        check_model(self, model)
        sigmas = check_sigmas(self.sampler.sigmas(model))
        check_range(model, sigmas)
        x = prior(model, noise, sigmas[0])
        known, mask = self._fitted(x)
        stepper = self.sampler.stepper(model, x, sigmas, condition)
        x = torch.where(mask, known + sigmas[0] * drawn(noise, x), x)
        for place, (sigma, following) in enumerate(pairwise(sigmas)):
            for repeat in range(self.rounds):
                if repeat:
                    x = x + math.sqrt(sigma**2 - following**2) * drawn(noise, x)
                x = stepper(x, place, drawn(noise, x) if stepper.plan[place].other else None)
                kept = known + following * drawn(noise, x) if following else known
                x = torch.where(mask, kept, x)
            report(callback, place + 1, len(stepper.plan))
        stepper.finish()
        return x

    def _fitted(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """known and mask for a batch like x."""
        try:
            return self.known.to(x).expand(x.shape), self.mask.to(x.device).expand(x.shape)
        except RuntimeError:
            raise GencoreError(
                f"known is {tuple(self.known.shape)} and mask {tuple(self.mask.shape)}; expected shapes that broadcast "
                f"to {tuple(x.shape)}: one image for all, or one for each sample of a batch."
            ) from None
