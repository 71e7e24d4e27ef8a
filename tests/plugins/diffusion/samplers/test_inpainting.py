"""Inpainting on closed forms, beside its twin."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gencore import Noise
from gencore.errors import GencoreError
from gencore_diffusion.parts.denoiser import FunctionDenoiser
from gencore_diffusion.samplers.ideal import ideal_gaussian
from gencore_diffusion.samplers.inpainting import InpaintSampler
from gencore_diffusion.samplers.solvers import DDIMSampler, DDPMSampler, HeunSampler


def correlated(x: Tensor, sigma: Tensor, condition: object) -> Tensor:
    """The denoiser of N(0, [[1, 0.9], [0.9, 1]])."""
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=x.dtype)
    gain = covariance @ torch.linalg.inv(covariance + sigma[0].item() ** 2 * torch.eye(2, dtype=x.dtype))
    return x @ gain.T


class OneStream(Noise):
    """The whole batch from one generator: thousands of samples at little cost."""

    def __init__(self, count: int) -> None:
        self.count, self.generator = count, torch.Generator().manual_seed(0)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.generator)


def inpainted(rounds: int) -> Tensor:
    """x_2 where x_1 = 1.5 is known, 100 steps; its true mean is 1.35."""
    model = FunctionDenoiser(correlated, data_shape=(2,), sigma_min=0.01, sigma_max=20.0)
    known, mask = torch.tensor([[1.5, 0.0]]), torch.tensor([[True, False]])
    sampler = InpaintSampler(known=known, mask=mask, rounds=rounds, sampler=DDPMSampler(steps=100))
    x = sampler.sample(model, OneStream(2000))
    assert torch.equal(x[:, 0], torch.full((2000,), 1.5))
    return x[:, 1]


def test_inpainting_and_its_ablated_twin() -> None:
    """Known pixels to the bit. Replacement alone is biased towards the marginal mean, ten rounds mend it."""
    plain, rounds = (abs(inpainted(rounds).mean().item() - 1.35) for rounds in (1, 10))
    assert rounds < 0.1 < 0.3 < plain


def test_inpainting_rounds_by_hand() -> None:
    """Algorithm 1 of RePaint on two levels with two rounds, DDIM's step, a denoiser that always says 0.5."""
    model = FunctionDenoiser(lambda x, sigma, c: x * 0 + 0.5, data_shape=(2,), sigma_min=1.0, sigma_max=4.0)
    known, mask = torch.tensor([[2.0, 0.0]]), torch.tensor([[True, False]])
    noise = OneStream(3)
    x = 4 * noise.normal(2)
    x = torch.where(mask, known + 4 * noise.normal(2), x)
    for s, t in ((4.0, 1.0), (1.0, 0.0)):
        for repeat in range(2):
            if repeat:
                x = x + math.sqrt(s**2 - t**2) * noise.normal(2)
            x = t / s * x + (1 - t / s) * 0.5
            x = torch.where(mask, known + t * noise.normal(2) if t else known, x)
    sampler = InpaintSampler(known=known, mask=mask, rounds=2, sampler=DDIMSampler(steps=2))
    torch.testing.assert_close(sampler.sample(model, OneStream(3)), x)
    # The result ends at the denoiser's word; what it is asked about shows the rounds, known pixels first.
    spreads: list[Tensor] = []

    def watched(x: Tensor, sigma: Tensor, condition: object) -> Tensor:
        spreads.append(x.std(0))
        return x * 0 + 0.5

    asked = FunctionDenoiser(watched, data_shape=(2,), sigma_min=1.0, sigma_max=4.0)
    sampler.sample(asked, OneStream(4000))
    expected = torch.tensor([[4.0, 4.0], [4.0, 4.0], [1.0, 1.0], [1.0, 1.0]])
    torch.testing.assert_close(torch.stack(spreads), expected, rtol=0.06, atol=0)


def test_inpainting_refuses() -> None:
    known, mask = torch.zeros(1, 2), torch.tensor([[True, False]])
    with pytest.raises(GencoreError, match="one-step sampler.*HeunSampler"):
        InpaintSampler(known=known, mask=mask, sampler=HeunSampler())
    with pytest.raises(GencoreError, match=r"mask is torch\.float32"):
        InpaintSampler(known=known, mask=mask.float())
    with pytest.raises(GencoreError, match="NaN or infinity"):
        InpaintSampler(known=known * math.nan, mask=mask)
    with pytest.raises(GencoreError, match="rounds is 0"):
        InpaintSampler(known=known, mask=mask, rounds=0)
    with pytest.raises(GencoreError, match=r"broadcast to \(3, 2\)"):
        InpaintSampler(known=torch.zeros(2, 5), mask=mask).sample(ideal_gaussian(0.0, 1.0, dim=2), Noise(0, 0, 3))
