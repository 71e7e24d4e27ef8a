"""The closed-form denoisers."""

from __future__ import annotations

import math

import torch

from gencore_diffusion.samplers.ideal import ideal_mixture


def test_ideal_denoiser_is_the_score() -> None:
    """Tweedie: (D - x) / sigma^2 = grad log of the mixture's density, by autograd."""
    weights, means, deviation = [0.2, 0.5, 0.3], [[-2.0, 1.0], [1.0, 0.5], [0.0, -3.0]], 0.3
    model = ideal_mixture(weights, means, deviation)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(16, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    for sigma in (0.05, 1.0, 7.0):
        total = deviation**2 + sigma**2
        parts = [
            math.log(w) - (x - torch.tensor(m, dtype=torch.float64)).square().sum(1) / (2 * total)
            for w, m in zip(weights, means, strict=True)
        ]
        (score,) = torch.autograd.grad(torch.stack(parts).logsumexp(0).sum(), x)
        torch.testing.assert_close((model.denoise(x, sigma) - x) / sigma**2, score, rtol=1e-10, atol=1e-10)
