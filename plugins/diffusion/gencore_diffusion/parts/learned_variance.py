"""Learned variances (Nichol & Dhariwal 2021, "Improved Denoising Diffusion Probabilistic Models", arXiv:2102.09672).

    log Sigma(x_t, t) = v log beta_t + (1 - v) log beta~_t      v: the network's second half of channels   (equation 15)
    loss = L_simple + lambda L_vlb, lambda = 0.001                                                         (equation 16)
L_vlb is DDPM's variational bound (`gencore_diffusion.parts.likelihood`) with the mean's prediction detached, so that it
trains v alone; T times one term is its unbiased estimate. At v = 0 the reverse variance is the posterior's, at v = 1
beta. `DDPMSampler(variance="learned")` draws with it, over few steps too: the two bounds are then those of the longer
steps. `variational_bound(variance="learned")` measures it.

Deviations: L_vlb in bits per number (the paper gives no reduction); timesteps are drawn uniformly (the paper resamples
them by importance for L_vlb alone, not for equation 16).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gencore import Loss, Objective
from gencore.config import check
from gencore.objective import Batch
from gencore_diffusion.parts.likelihood import gaussian_log_prob, step_divergence, transition
from gencore_diffusion.parts.objective import DenoisingScoreMatching, noised
from gencore_diffusion.parts.parametrization import from_x0, to_x0
from gencore_diffusion.parts.reverse_variance import interpolated, log_bounds


class LearnedVariance(Objective):
    """Phase "denoiser". `bins`: the data's levels from -1 to 1, for L_0; None: a density. `weight`: lambda.

    Logs `simple`: mean squared error of the prediction; lower is better. `bound`: the variational bound, in bits an
    example's number; lower is better.
    """

    def __init__(self, *, label_drop: float = 0.1, bins: int | None = 256, weight: float = 0.001) -> None:
        super().__init__()
        check(bins is None or bins >= 2, "bins", bins, "at least 2, or null for a density")
        check(0 <= weight < math.inf, "weight", weight, "0 or more")
        self.simple, self.bins, self.weight = DenoisingScoreMatching(label_drop=label_drop), bins, weight

    def denoiser(self, model: Any, batch: Batch) -> Loss:
        """Equation 16 on batch["x"], and batch["label"] where the model takes labels; both parts are logged."""
        clean = batch["x"]
        noisy, sigma = noised(model, clean)
        coefficients = model.scalings(sigma)
        prediction, v = model.predict_with_variance(noisy, sigma, self.simple.labels(model, batch))
        simple = (prediction - from_x0(clean, noisy, coefficients)).square().mean()
        guess = to_x0(prediction.detach(), noisy, coefficients)
        bits = len(model.sigmas) * self._term(model, clean, guess, v, sigma).mean() / math.log(2)
        return Loss(simple + self.weight * bits, {"simple": simple, "bound": bits})

    def _term(self, model: Any, clean: Tensor, guess: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
        """Each example's term of the bound, in nats a number: L_{t-1}, or L_0 at the lowest level; x0's shape."""
        levels = torch.cat([torch.zeros(1, dtype=torch.float64), model.sigmas]).to(sigma.device)
        bounds = log_bounds(levels.flip(0)).flip(0)
        place = torch.searchsorted(levels, sigma) - 1
        log_variance = interpolated(v, *bounds[place].to(v.dtype).unbind(1))
        last = place == 0
        terms = torch.empty_like(clean)
        terms[last] = -gaussian_log_prob(clean[last], guess[last], (log_variance[last] / 2).exp(), self.bins)
        terms[~last] = step_divergence(
            (clean - guess)[~last].square(), log_variance[~last], *transition(sigma[~last], levels[place[~last]])
        )
        return terms
