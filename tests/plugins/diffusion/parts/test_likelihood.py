"""The variational bound and the flow's density, against closed forms on a Gaussian."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gencore import Noise
from gencore.errors import GencoreError
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.edm import EDM, EDMConfig
from gencore_diffusion.networks.build import DenseConfig
from gencore_diffusion.parts.denoiser import FunctionDenoiser
from gencore_diffusion.parts.likelihood import bits_per_dim, flow_log_prob, gaussian_log_prob, variational_bound
from gencore_diffusion.parts.schedules import alphas_cumprod, betas, sigmas_of
from gencore_diffusion.samplers.ideal import gaussian_flow, ideal_gaussian
from tests.plugins.diffusion.diffusion_models import WholeBatch


class Signs(Noise):
    """+1 for even streams, -1 for odd ones: with data +-c twice, every mean of squares is the expectation, exactly."""

    def normal(self, *shape: int) -> Tensor:
        return torch.tensor([1.0, -1.0] * (self.count // 2)).reshape(self.count, *[1] * len(shape)).expand(-1, *shape)


def ideal_ddpm(deviation: float, total: int, schedule: str) -> FunctionDenoiser:
    """The best denoiser of N(0, deviation^2) at a DDPM's levels."""
    model = ideal_gaussian(0.0, deviation)
    model.sigmas = sigmas_of(alphas_cumprod(betas(schedule, total)))  # type: ignore[attr-defined]
    return model


def excess(deviation: float, total: int, schedule: str = "linear", variance: str = "beta") -> float:
    """Bits per dimension by which the expected bound exceeds the entropy of N(0, deviation^2)."""
    x = deviation * torch.tensor([[1.0], [1.0], [-1.0], [-1.0]], dtype=torch.float64)
    bound = variational_bound(ideal_ddpm(deviation, total, schedule), x, Signs(0, 0, 4), variance=variance, bins=None)
    assert bound.steps.shape == (4, total - 1)
    entropy = 0.5 * math.log(2 * math.pi * math.e * deviation**2)
    return bits_per_dim(bound.total.mean() - entropy, 1).item()


@pytest.mark.parametrize("total", [50, 200, 1000])
def test_bound_is_tight_on_unit_variance(total: int) -> None:
    """With reverse variance beta_t the chain of a unit Gaussian is reversed exactly."""
    assert abs(excess(1.0, total)) < 1e-6


@pytest.mark.parametrize(
    ("total", "schedule", "expected"),
    [
        (50, "linear", 0.0318),
        (200, "linear", 0.0079),
        (1000, "linear", 0.0016),
        (50, "cosine", 0.0174),
        (200, "cosine", 0.0044),
        (1000, "cosine", 0.0009),
    ],
)
def test_bound_on_variance_one_quarter(total: int, schedule: str, expected: float) -> None:
    """The cost of the wrong reverse variance falls as 1 / T (values computed independently)."""
    assert excess(0.5, total, schedule) == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(("total", "expected"), [(50, 2.8759), (200, 1.2947), (1000, 0.8222)])
def test_the_variance_is_part_of_the_result(total: int, expected: float) -> None:
    """With posterior variances each term is half the fall of SNR = 1 / sigma^2 times E || x0 - D ||^2 (Kingma et al.
    2021, arXiv:2107.00630, equation 13), L_0 a Gaussian's with beta~_2, and the bound is bits worse."""
    c2, beta = 0.25, betas("linear", total)
    bar, sigma = alphas_cumprod(beta), sigmas_of(alphas_cumprod(beta))
    x = torch.tensor([[0.5], [0.5], [-0.5], [-0.5]], dtype=torch.float64)
    model = ideal_ddpm(0.5, total, "linear")
    bound = variational_bound(model, x, Signs(0, 0, 4), variance="posterior", bins=None)
    error = c2 * sigma**2 / (c2 + sigma**2)
    steps = 0.5 * (sigma[:-1] ** -2 - sigma[1:] ** -2) * error[1:]
    torch.testing.assert_close(bound.steps.mean(0), steps, rtol=1e-6, atol=1e-9)
    last = (1 - bar[0]) / (1 - bar[1]) * beta[1]
    reconstruction = 0.5 * (2 * math.pi * last).log() + error[0] / (2 * last)
    torch.testing.assert_close(bound.reconstruction.mean(), reconstruction, rtol=1e-6, atol=1e-9)
    entropy = 0.5 * math.log(2 * math.pi * math.e * c2)
    prior = 0.5 * (c2 * bar[-1] - bar[-1] - (1 - bar[-1]).log())
    closed = (prior + steps.sum() + reconstruction - entropy).item() / math.log(2)
    assert excess(0.5, total, variance="posterior") == pytest.approx(closed, abs=1e-6)
    assert closed == pytest.approx(expected, abs=1e-4)


def test_prior_term_of_unit_data() -> None:
    """2.02e-5 nats at T = 1000."""
    x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    prior = variational_bound(ideal_ddpm(1.0, 1000, "linear"), x, Signs(0, 0, 2), bins=None).prior
    assert prior.mean().item() == pytest.approx(2.018e-5, rel=1e-3)


def test_discrete_reconstruction_sums_to_one() -> None:
    """Over all bins, for means inside and outside, narrow and wide; its tails stay finite."""
    values = torch.linspace(-1, 1, 17, dtype=torch.float64)
    for mean in (-1.3, -1.0, 0.21, 1.0):
        for deviation in (0.01, 0.3, 5.0):
            logs = gaussian_log_prob(values, torch.full((17,), mean, dtype=torch.float64), torch.tensor(deviation), 17)
            assert logs.exp().sum().item() == pytest.approx(1.0, abs=1e-9)
            assert logs.isfinite().all()


def two_levels(x: Tensor, sigma: Tensor, condition: object) -> Tensor:
    """The denoiser of x0 = 1 with probability 0.3, else -1."""
    return torch.tanh(x / sigma[:, None] ** 2 + 0.5 * math.log(0.3 / 0.7))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_bound_of_discrete_data_falls_to_their_entropy(schedule: str) -> None:
    """With the exact denoiser of two values: never below 0.881 bits, nearer with more steps, 0.02 above with 4000."""
    entropy = -(0.3 * math.log2(0.3) + 0.7 * math.log2(0.7))
    x = torch.where(torch.arange(4000) < 1200, 1.0, -1.0).double()[:, None]
    excesses = []
    for total in (50, 400, 4000):
        model = FunctionDenoiser(two_levels, data_shape=(1,), sigma_min=1e-3, sigma_max=1e4)
        model.sigmas = sigmas_of(alphas_cumprod(betas(schedule, total)))  # type: ignore[attr-defined]
        bound = variational_bound(model, x, WholeBatch(4000), bins=2, variance="posterior")
        excesses.append(bits_per_dim(bound.total.mean(), 1).item() - entropy)
    assert excesses[0] > excesses[1] > excesses[2] > -0.005
    assert excesses[2] < 0.02


def test_bound_of_an_untrained_model_in_bits() -> None:
    """Units: finite, and the batch does not change the figure of an example."""
    model = DDPM(DDPMConfig(data_shape=(8,), network=DenseConfig(hidden=8, layers=1), num_timesteps=20)).eval()
    x = torch.randint(17, (4, 8), generator=torch.Generator().manual_seed(0)) / 8 - 1
    whole = variational_bound(model, x, Noise(0, 0, 4), bins=17).total
    part = variational_bound(model, x[2:], Noise(0, 2, 2), bins=17).total
    torch.testing.assert_close(whole[2:], part)
    assert bits_per_dim(whole, 8).mean() > 1.0


def test_bound_refuses() -> None:
    network = DenseConfig(hidden=8, layers=1)
    model = DDPM(DDPMConfig(data_shape=(2,), network=network, num_timesteps=20)).eval()
    for x in (torch.tensor([[0.0, 0.013]]), torch.tensor([[255.0, 1.0]])):
        with pytest.raises(GencoreError, match="not on 256 even levels"):
            variational_bound(model, x, Noise(0, 0, 1))
    with pytest.raises(GencoreError, match="needs a model with discrete noise levels"):
        variational_bound(EDM(EDMConfig(data_shape=(2,), network=network)), torch.zeros(1, 2), Noise(0, 0, 1))


@pytest.mark.parametrize("hutchinson", [False, True])
def test_flow_density_of_a_gaussian(hutchinson: bool) -> None:
    """Within 1e-3 nats of the exact flow's density under the prior N(0, sigma_max^2); and near N(m, d^2)'s own, from
    which that prior, blind to m, is m z / sigma_max away."""
    model = ideal_gaussian(0.4, 0.6, dim=3, sigma_max=200.0, sigma_min=0.01)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    end = gaussian_flow(x, 0.01, 200.0, mean=0.4, deviation=0.6)
    stretch = math.log(math.hypot(0.6, 200.0) / math.hypot(0.6, 0.01))
    truth = (torch.distributions.Normal(0.0, 200.0).log_prob(end) + stretch).sum(1)
    got = flow_log_prob(model, x, steps=600, noise=Noise(0, 0, 5) if hutchinson else None)
    torch.testing.assert_close(got, truth, rtol=0, atol=1e-3)
    density = torch.distributions.Normal(0.4, math.hypot(0.6, 0.01)).log_prob(x).sum(1)
    torch.testing.assert_close(got, density, rtol=0, atol=0.02)


def test_flow_density_converges_at_second_order() -> None:
    """And centred data, whose prior is right, to 1e-3 nats of the true density."""
    model = ideal_gaussian(0.0, 0.6, sigma_max=200.0, sigma_min=0.01)
    x = torch.tensor([[0.3]], dtype=torch.float64)
    truth = torch.distributions.Normal(0.0, math.hypot(0.6, 0.01)).log_prob(x).sum(1)
    coarse, middle = (abs(flow_log_prob(model, x, steps=steps) - truth).item() for steps in (50, 200))
    assert middle < 1e-3
    assert math.log(coarse / middle) / math.log(4) == pytest.approx(2.0, abs=0.25)
