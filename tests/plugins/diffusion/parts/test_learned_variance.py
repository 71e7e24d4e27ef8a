"""Learned variances: equations 15 and 16, the sampler and the bound that use them, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import gencore
from gencore import Noise
from gencore.config import from_json, to_json
from gencore.errors import GencoreError
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.networks.build import DenseConfig
from gencore_diffusion.parts.learned_variance import LearnedVariance
from gencore_diffusion.parts.likelihood import variational_bound
from gencore_diffusion.parts.objective import DenoisingScoreMatching
from gencore_diffusion.parts.reverse_variance import ancestral_noise, ancestral_variance, interpolated, log_bounds
from gencore_diffusion.parts.schedules import alphas_cumprod, betas, sigmas_of
from gencore_diffusion.samplers.inpainting import InpaintSampler
from gencore_diffusion.samplers.names import DDIMSampler, DDPMSampler

SMALL = DenseConfig(hidden=16, layers=1)


def learned(v: float | None = None, **changes: object) -> DDPM:
    """A model with random weights; with `v`, one that says v everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fields = {"data_shape": (4,), "network": SMALL, "num_timesteps": 20, "variance": "learned", **changes}
        model = DDPM(DDPMConfig(**fields)).eval()
        torch.nn.init.normal_(model.network.head.weight, std=0.3)
    if v is not None:
        torch.nn.init.zeros_(model.network.head.weight[4:].detach())
        torch.nn.init.constant_(model.network.head.bias[4:].detach(), v)
    return model


@pytest.mark.parametrize("t", [1, 2, 50, 199])
def test_bounds_are_the_papers_betas(t: int) -> None:
    """Equation 15's two ends in the paper's coordinates; t counts from 0."""
    beta = betas("linear", 200)
    bar = alphas_cumprod(beta)
    high, low = sigmas_of(bar)[[t, t - 1]].tolist()
    scale = bar[t - 1].item()
    posterior = (1 - bar[t - 1]) / (1 - bar[t]) * beta[t]
    assert scale * ancestral_variance(high, low, "beta") == pytest.approx(beta[t].item(), rel=1e-9)
    assert scale * ancestral_variance(high, low, "posterior") == pytest.approx(posterior.item(), rel=1e-9)
    assert ancestral_noise(high, low, "beta") ** 2 == pytest.approx(ancestral_variance(high, low, "beta"))


def test_last_bounds() -> None:
    """Of p(x0 | x_1): beta_1 and beta~_2."""
    beta = betas("cosine", 100)
    bar, sigmas = alphas_cumprod(beta), sigmas_of(alphas_cumprod(beta)).flip(0).tolist()
    last = log_bounds([*sigmas, 0.0])[-1].exp()
    assert last[1].item() == pytest.approx(beta[0].item(), rel=1e-9)
    assert last[0].item() == pytest.approx(((1 - bar[0]) / (1 - bar[1]) * beta[1]).item(), rel=1e-9)
    only = log_bounds([2.0, 0.0])
    assert only[0, 0] == only[0, 1] == math.log(4 / 5)


def test_interpolation_is_in_the_logarithm() -> None:
    v = torch.tensor([[0.0, 1.0, 0.25]], dtype=torch.float64)
    low, high = torch.tensor([0.01], dtype=torch.float64).log(), torch.tensor([0.16], dtype=torch.float64).log()
    torch.testing.assert_close(
        interpolated(v, low, high).exp(), torch.tensor([[0.01, 0.16, 0.02]], dtype=torch.float64)
    )


@pytest.mark.parametrize(("v", "fixed"), [(0.0, "posterior"), (1.0, "beta")])
@pytest.mark.parametrize("steps", [5, 20])
def test_the_ends_are_the_fixed_variances(v: float, fixed: str, steps: int) -> None:
    """Where the network says 0 or 1 everywhere, samples and bound are those of a fixed variance, strided too."""
    model = learned(v)
    samples = [
        model.sample(3, sampler=DDPMSampler(steps=steps, variance=name, clip=1.0)) for name in ("learned", fixed)
    ]
    torch.testing.assert_close(samples[0], samples[1], rtol=1e-4, atol=1e-5)
    x = torch.randint(17, (5, 4), generator=torch.Generator().manual_seed(0)) / 8 - 1
    bounds = [
        variational_bound(model, x, Noise(0, 0, 5), variance=name, bins=17, steps=steps) for name in ("learned", fixed)
    ]
    for ours, theirs in zip(*bounds, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_sampler_draws_with_the_network_s_variance() -> None:
    """One step written out: posterior mean of the prediction, deviation exp(log Sigma / 2) for every number."""
    model, (s, t) = learned(), (2.0, 0.7)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    sampler = DDPMSampler(variance="learned")
    with torch.no_grad():
        got = sampler.solve(model, x, [s, t], noise=Noise(0, 0, 3))
        at = torch.full((3,), s, dtype=torch.float64)
        eps, v = model.predict_with_variance(x, at, None)
    clean, r = x - s * eps, (t / s) ** 2
    low, high = t**2 * (1 - r), s**2 * (1 - r) * (1 + t**2) / (1 + s**2)
    deviation = (v * math.log(high) + (1 - v) * math.log(low)).exp().sqrt()
    expected = r * x + (1 - r) * clean + deviation * Noise(0, 0, 3).normal(4)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert v.std() > 0.05


def test_guided_variance_is_the_conditional_prediction_s() -> None:
    """Under guidance v comes from the labelled half, the mean from both."""
    model = learned(num_classes=2)
    x, labels = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 1])
    sampler, (s, t) = DDPMSampler(variance="learned", guidance=3.0), (2.0, 0.7)
    with torch.no_grad():
        got = sampler.solve(model, x, [s, t], noise=Noise(0, 0, 3), condition=labels)
        at = torch.full((3,), s, dtype=torch.float64)
        eps, v = model.predict_with_variance(x, at, labels)
        null, other = model.predict_with_variance(x, at, torch.full((3,), 2))
    clean = x - s * (null + 3 * (eps - null))
    bounds = log_bounds([s, t]).float()
    expected = (t / s) ** 2 * x + (1 - (t / s) ** 2) * clean
    expected = expected + (interpolated(v, *bounds[0]) / 2).exp() * Noise(0, 0, 3).normal(4)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(v, other, atol=1e-2)


def test_bound_terms_are_gaussian_divergences() -> None:
    """Each KL by torch.distributions, from means and variances in the paper's coordinates; the density L_0 too."""
    model = learned()
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)) * 0.5
    bound = variational_bound(model, x, Noise(3, 0, 2), variance="learned", bins=None)
    noise, sigmas = Noise(3, 0, 2), [*model.sigmas.flip(0).tolist(), 0.0]
    terms = []
    for s, t in pairwise(sigmas):
        noisy = x + s * noise.normal(4)
        with torch.no_grad():
            eps, v = model.predict_with_variance(noisy, torch.full((2,), s, dtype=torch.float64), None)
        r, clean = (t / s) ** 2, noisy - s * eps
        ends = log_bounds([s, t] if t else sigmas[-3:])[-1].float()
        deviation = (v * ends[1] + (1 - v) * ends[0]).exp().sqrt()
        reverse = torch.distributions.Normal(r * noisy + (1 - r) * clean, deviation)
        if t:
            true = torch.distributions.Normal(r * noisy + (1 - r) * x, t * math.sqrt(1 - r))
            terms.append(torch.distributions.kl_divergence(true, reverse).sum(1))
        else:
            torch.testing.assert_close(bound.reconstruction, -reverse.log_prob(x).sum(1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(bound.steps, torch.stack(terms[::-1], 1), rtol=2e-3, atol=2e-3)


def hybrid(model: DDPM, x: Tensor, seed: int = 7, **options: object) -> gencore.Loss:
    torch.manual_seed(seed)
    return LearnedVariance(**{"bins": None, **options}).loss(model, "denoiser", {"x": x})


def test_hybrid_loss() -> None:
    """L_simple + weight L_vlb; L_vlb is unbiased for the bound without its prior term, in bits a number."""
    model = learned(num_timesteps=10)
    x = torch.randn(1, 4, generator=torch.Generator().manual_seed(0)).repeat(4000, 1) * 0.5
    with torch.no_grad():
        loss = hybrid(model, x)
        torch.manual_seed(7)
        simple = DenoisingScoreMatching().loss(model, "denoiser", {"x": x}).total
        bound = variational_bound(model, x, Noise(0, 0, 4000), variance="learned", bins=None)
    torch.testing.assert_close(loss.metrics["simple"], simple)
    torch.testing.assert_close(loss.total, simple + 0.001 * loss.metrics["bound"])
    bits = (bound.steps.sum(1) + bound.reconstruction).mean() / (4 * math.log(2))
    assert loss.metrics["bound"].item() == pytest.approx(bits.item(), rel=0.05)


@pytest.mark.parametrize("bins", [None, 17])
def test_the_bound_trains_the_variance_alone(bins: int | None) -> None:
    """The head's first half gets L_simple's gradient, whatever the weight; the second gets L_vlb's alone."""
    model = learned()
    x = torch.randint(17, (64, 4), generator=torch.Generator().manual_seed(0)) / 8 - 1
    gradients = []
    for weight in (0.0, 0.001, 1.0):
        (slope,) = torch.autograd.grad(hybrid(model, x, weight=weight, bins=bins).total, model.network.head.weight)
        assert slope.isfinite().all()
        gradients.append(slope)
    torch.testing.assert_close(gradients[0][:4], gradients[2][:4])
    assert (gradients[0][4:] == 0).all()
    assert (gradients[2][4:] != 0).any()
    torch.testing.assert_close(gradients[1][4:], 0.001 * gradients[2][4:], rtol=1e-3, atol=1e-9)


def test_other_samplers_see_the_prediction_alone() -> None:
    """DDIM on a model with variances is DDIM on its first half of channels; images too."""
    model = learned()
    plain = DDPM(dataclasses.replace(model.config, variance="fixed")).eval()
    state = {k: (v[:4] if k.startswith("network.head") else v) for k, v in model.state_dict().items()}
    plain.load_state_dict(state)
    sampler = DDIMSampler(steps=4, clip=1.0)
    torch.testing.assert_close(model.sample(2, sampler=sampler), plain.sample(2, sampler=sampler))
    for network in ("unet", "dit", "dense"):
        made = gencore.recipe("ddpm", network=network, width=8, depth=1, variance="learned", num_timesteps=20)
        image = made.model(made.config)
        v = image.predict_with_variance(torch.zeros(2, 1, 8, 8), torch.ones(2, dtype=torch.float64), None)[1]
        assert v.shape == (2, 1, 8, 8)
        assert image.sample(2, sampler=DDPMSampler(steps=3, variance="learned")).shape == (2, 1, 8, 8)


def test_inpainting_draws_it_too() -> None:
    """Under v = 1 inpainting by the learned variance is inpainting by beta."""
    known, mask = torch.zeros(1, 4), torch.tensor([[True, False, False, True]])
    samples = [
        learned(1.0).sample(2, sampler=InpaintSampler(known=known, mask=mask, sampler=DDPMSampler(steps=5, variance=v)))
        for v in ("learned", "beta")
    ]
    torch.testing.assert_close(samples[0], samples[1], rtol=1e-4, atol=1e-5)


def test_configs_of_version_1_are_read() -> None:
    """A model that was saved before this field has fixed variances."""
    data = to_json(DDPMConfig(network=SMALL))
    del data["variance"]
    assert from_json(DDPMConfig, data, version=1) == DDPMConfig(network=SMALL)


def test_refusals() -> None:
    plain = DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20)).eval()
    with pytest.raises(GencoreError, match='variance is "learned", but this DDPM tells none'):
        plain.sample(2, sampler=DDPMSampler(steps=3, variance="learned"))
    with pytest.raises(GencoreError, match='variance is "learned", but this DDPM tells none'):
        variational_bound(plain, torch.zeros(1, 4), Noise(0, 0, 1), variance="learned", bins=None)
    with pytest.raises(GencoreError, match="variance is 'fixed'"):
        variational_bound(plain, torch.zeros(1, 4), Noise(0, 0, 1), variance="fixed", bins=None)
    with pytest.raises(GencoreError, match="steps is 1"):
        variational_bound(plain, torch.zeros(1, 4), Noise(0, 0, 1), bins=None, steps=1)
    with pytest.raises(GencoreError, match="variance is 'leant'"):
        DDPMConfig(variance="leant")
    for options, message in (({"bins": 1}, "bins is 1"), ({"weight": -1.0}, "weight is -1")):
        with pytest.raises(GencoreError, match=message):
            LearnedVariance(**options)
