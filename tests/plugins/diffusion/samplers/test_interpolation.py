"""Interpolation, and encoding, which inverts DDIM."""

from __future__ import annotations

import pytest
import torch

from gencore import Noise
from gencore.errors import GencoreError
from gencore_diffusion.parts.denoiser import FunctionDenoiser
from gencore_diffusion.samplers.ideal import gaussian_flow, ideal_gaussian
from gencore_diffusion.samplers.interpolation import encode, interpolate, slerp
from gencore_diffusion.samplers.solvers import DDIMSampler, DDPMSampler


def test_slerp_and_interpolation() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 400, generator=generator, dtype=torch.float64)
    path = slerp(a, b, torch.linspace(0, 1, 5, dtype=torch.float64))
    torch.testing.assert_close(path[[0, -1]], torch.stack([a, b]))
    norms = path.norm(dim=1) / a.norm()
    assert ((norms - 1).abs() < 0.1).all()
    torch.testing.assert_close(slerp(a, 3 * a, torch.tensor([0.0, 0.25, 1.0])), torch.stack([a, 1.5 * a, 3 * a]))
    model, sampler = ideal_gaussian(0.0, 1.0, dim=2), DDIMSampler(steps=10)
    between = interpolate(model, sampler, seed=5, first=3, second=1, count=4)
    whole = sampler.sample(model, Noise(5, 0, 4))
    torch.testing.assert_close(between[[0, -1]], whole[[3, 1]])
    torch.testing.assert_close(interpolate(model, sampler, seed=5, first=3, second=1, count=2), whole[[3, 1]])
    with pytest.raises(GencoreError, match="pass noise"):
        interpolate(model, DDPMSampler(steps=10))
    with pytest.raises(GencoreError, match="count is 1"):
        interpolate(model, sampler, count=1)


def test_encoding_inverts_ddim() -> None:
    """Data to noise and back: the error halves when the steps double; and the noise is what the exact flow says."""
    model = ideal_gaussian(0.5, 0.7, sigma_max=20.0, sigma_min=0.02)
    x = torch.linspace(-2, 3, 9, dtype=torch.float64)[:, None]
    errors, distances = [], []
    asked: list[float] = []
    watched = FunctionDenoiser(
        lambda x, sigma, _: asked.append(sigma[0].item()) or x, data_shape=(1,), sigma_min=0.02, sigma_max=20.0
    )
    encode(watched, x, steps=5)
    assert asked == pytest.approx(watched.grid(5)[:0:-1])
    for steps in (100, 200, 400):
        noise = encode(model, x, steps=steps)
        back = DDIMSampler().solve(model, noise, model.grid(steps))
        errors.append((back - x).abs().max().item())
        truth = gaussian_flow(x, 0.02, 20.0, mean=0.5, deviation=0.7)
        distances.append((noise - truth).abs().max().item() / 20)
    assert [errors[i] / errors[i + 1] for i in range(2)] == pytest.approx([2.0, 2.0], abs=0.15)
    assert [distances[i] / distances[i + 1] for i in range(2)] == pytest.approx([2.0, 2.0], abs=0.15)
    assert errors[2] < 0.05
