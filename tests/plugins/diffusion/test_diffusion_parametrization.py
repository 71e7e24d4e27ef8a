"""Parametrisations, schedules and the closed-form denoisers, against formulas written out a second time."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from gencore.errors import GencoreError
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.edm import preconditioning
from gencore_diffusion.networks.build import DenseConfig
from gencore_diffusion.parts import schedules
from gencore_diffusion.parts.parametrization import PARAMETRIZATIONS, convert, scalings
from gencore_diffusion.samplers.ideal import ideal_mixture


@pytest.fixture
def noised() -> dict[str, torch.Tensor]:
    """Random x0, eps, sigma over six decades, and each target from its paper's own definition."""
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 20, 3, generator=generator, dtype=torch.float64)
    sigma = torch.logspace(-3, 3, 20, dtype=torch.float64)
    alpha = (1 + sigma**2).rsqrt()[:, None]
    beta = (1 - alpha**2).sqrt()
    return {
        "sigma": sigma,
        "x": x0 + sigma[:, None] * eps,
        "x0": x0,
        "eps": eps,
        "v": alpha * eps - beta * x0,
        "score": -eps / sigma[:, None],
    }


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(PARAMETRIZATIONS, 2)))
def test_conversions(noised: dict[str, torch.Tensor], source: str, target: str) -> None:
    """All twelve: exact against the definition. Rounding grows where x0 or eps is hidden by the other."""
    converted = convert(noised[source], noised["x"], noised["sigma"], source=source, target=target)
    torch.testing.assert_close(converted, noised[target], rtol=1e-8, atol=1e-9)
    back = convert(converted, noised["x"], noised["sigma"], source=target, target=source)
    torch.testing.assert_close(back, noised[source], rtol=1e-8, atol=1e-9)
    middle = slice(7, 13)  # sigma from 0.16 to 6, where neither hides the other
    torch.testing.assert_close(back[middle], noised[source][middle], rtol=1e-12, atol=1e-12)


def test_loss_weights(noised: dict[str, torch.Tensor]) -> None:
    """An error of x0 shows as SNR times its square in eps, (1 + SNR) times in v, 1 / sigma^4 in the score."""
    sigma, x = noised["sigma"], noised["x"]
    wrong = noised["x0"] + 1.0
    weights = {"eps": sigma**-2, "v": 1 + sigma**-2, "score": sigma**-4}
    for name, weight in weights.items():
        error = convert(wrong, x, sigma, source="x0", target=name) - noised[name]
        torch.testing.assert_close(error.square().mean(1), weight, rtol=1e-6, atol=0)


def test_unknown_parametrization() -> None:
    with pytest.raises(GencoreError, match=r"'epsilon'.*'eps'"):
        scalings("epsilon", torch.ones(()))


def test_schedule_tables() -> None:
    """Figures of the papers' schedules for T = 1000."""
    linear = schedules.alphas_cumprod(schedules.betas("linear", 1000))
    cosine_betas = schedules.betas("cosine", 1000)
    cosine = schedules.alphas_cumprod(cosine_betas)
    assert linear[-1].item() == pytest.approx(4.04e-5, rel=2e-3)
    assert linear[499].item() == pytest.approx(0.0786, abs=5e-5)
    assert cosine_betas[0].item() == pytest.approx(4.13e-5, rel=2e-3)
    assert cosine_betas[-1].item() == 0.999
    assert cosine[499].item() == pytest.approx(0.4938, abs=5e-5)
    for alphas in (linear, cosine):
        assert (schedules.sigmas_of(alphas).diff() > 0).all()


def test_linear_schedule_is_rescaled() -> None:
    """Another T ends at about the same signal."""
    ends = [schedules.alphas_cumprod(schedules.betas("linear", total))[-1].item() for total in (500, 1000, 2000)]
    assert max(ends) / min(ends) < 1.3


def test_grids() -> None:
    karras, geometric = schedules.karras(80.0, 0.002, 18), schedules.geometric(10.0, 0.01, 4)
    assert (karras[0], karras[-1], len(karras)) == (80.0, 0.002, 18)
    roots = torch.tensor(karras, dtype=torch.float64) ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff().mean().expand(17))
    assert geometric == pytest.approx([10.0, 1.0, 0.1, 0.01])
    assert schedules.karras(80.0, 20.0, 4, rho=1.0) == pytest.approx([80.0, 60.0, 40.0, 20.0])
    for grid in (schedules.karras, schedules.geometric):
        assert (grid(80.0, 0.002, 1), grid(80.0, 0.002, 2)) == ([80.0], [80.0, 0.002])
    with pytest.raises(GencoreError, match="rho is 0"):
        schedules.karras(80.0, 0.002, 4, rho=0.0)


@pytest.mark.parametrize(
    "sigmas", [[1.0, 1.0, 0.0], [0.5, 1.0], [1.0], [1.0, -0.1], [math.inf, 1.0], [1.0, math.nan, 0.0]]
)
def test_sigmas_must_fall(sigmas: list[float]) -> None:
    with pytest.raises(GencoreError, match="strictly decreasing"):
        schedules.check_sigmas(sigmas)


def test_unknown_schedules_are_refused() -> None:
    with pytest.raises(GencoreError, match="quadratic"):
        schedules.betas("quadratic", 10)


def test_zero_terminal_signal_is_refused() -> None:
    with pytest.raises(GencoreError, match="reaches 0"):
        schedules.sigmas_of(torch.tensor([0.5, 0.0]))


def test_edm_unit_variance() -> None:
    """The network's input and its target have unit variance at every level (the paper's appendix B.6)."""
    sigma = torch.logspace(-3, 2, 11, dtype=torch.float64)
    data = 0.7
    skip, out = preconditioning(sigma, data)
    residual = (1 - skip) ** 2 * data**2 + skip**2 * sigma**2
    torch.testing.assert_close(residual / out**2, torch.ones_like(sigma))


def test_ddpm_levels() -> None:
    """The trained levels are told exactly; between two, t is between them."""
    with torch.device("meta"):
        model = DDPM(DDPMConfig(data_shape=(2,), network=DenseConfig(), num_timesteps=1000))
    assert torch.equal(model.level(model.sigmas), torch.arange(1000, dtype=torch.float64))
    for steps in (1000, 7):
        grid = model.grid(steps)
        assert (len(grid), grid[0], grid[-1]) == (steps, model.sigma_max, model.sigma_min)
    assert model.grid(1000) == model.sigmas.flip(0).tolist()
    between = model.level((model.sigmas[:-1] * model.sigmas[1:]).sqrt())
    torch.testing.assert_close(between, torch.arange(999, dtype=torch.float64) + 0.5, rtol=0, atol=1e-9)


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
