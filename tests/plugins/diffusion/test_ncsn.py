"""NCSN: its levels and settings, and the weights of a mixture found."""

from __future__ import annotations

import functools

import pytest
import torch

import gencore
from gencore import Noise
from gencore.data import arrays
from gencore.errors import GencoreError
from gencore_diffusion.ncsn import NCSN, NCSNConfig
from gencore_diffusion.samplers.ideal import ideal_mixture
from gencore_diffusion.samplers.langevin import AnnealedLangevinSampler, ConsistentAnnealedSampler
from tests.plugins.diffusion.diffusion_models import MEANS, SMALL, WEIGHTS, share_of_large_mode

pytestmark = pytest.mark.xdist_group("ncsn")  # its tests share what they train


def test_training_levels() -> None:
    """The paper draws the geometric levels alike."""
    torch.manual_seed(0)
    drawn = NCSN(NCSNConfig(data_shape=(4,), network=SMALL, num_levels=4)).draw_sigma(20_000)
    shares = [(drawn / level - 1).abs().lt(1e-9).double().mean().item() for level in (10.0, 1.0, 0.1, 0.01)]
    assert shares == pytest.approx([1 / 4] * 4, abs=0.02)


def test_what_the_network_is_told() -> None:
    """Inputs of unit variance, log sigma in hundreds."""
    sigma = torch.tensor([0.01, 0.7, 50.0], dtype=torch.float64)
    scale, level = NCSN(NCSNConfig(data_shape=(4,), network=SMALL)).told(sigma)
    torch.testing.assert_close(level, (100 * sigma.log()).float())
    torch.testing.assert_close(scale, 1 / (1 + sigma**2).sqrt())


@pytest.mark.parametrize(("changes", "message"), [({"sigma_min": 20.0}, "sigma_min is 20")])
def test_bad_configs(changes: dict[str, object], message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        NCSNConfig(**changes)


@functools.cache
def score_network() -> NCSN:
    """The paper's toy, section 3.2.2: 0.2 N((-5, -5), I) + 0.8 N((5, 5), I)."""
    generator = torch.Generator().manual_seed(0)
    large = torch.rand(20_000, generator=generator) < WEIGHTS[1]
    x = torch.where(large[:, None], 5.0, -5.0) + torch.randn(20_000, 2, generator=generator)
    recipe = gencore.recipe(
        "ncsn",
        data_shape=(2,),
        network="dense",
        width=96,
        depth=2,
        sigma_max=10.0,
        sigma_min=0.5,
        num_levels=10,
        steps=2500,
        batch_size=256,
        learning_rate=2e-3,
        ema_half_life=150,
    )
    trainer = gencore.Trainer(recipe, arrays(x.numpy()), cpu=True)
    trainer.fit()
    with trainer.published() as published:
        model = NCSN(recipe.config)
        model.load_state_dict(published.state_dict())
    return model.eval()


@pytest.mark.behaviour
def test_ncsn_learns_the_score() -> None:
    """Mean squared error of the score below 2 % of its power at three levels."""
    model, ideal = score_network(), ideal_mixture(WEIGHTS, MEANS, 1.0, sigma_max=10.0, sigma_min=0.5)
    generator = torch.Generator().manual_seed(3)
    large = torch.rand(2000, generator=generator) < WEIGHTS[1]
    clean = torch.where(large[:, None], 5.0, -5.0) + torch.randn(2000, 2, generator=generator)
    for sigma in (0.5, 2.0, 10.0):
        x = clean + sigma * torch.randn(2000, 2, generator=generator)
        true = (ideal.denoise(x, sigma) - x) / sigma**2
        with torch.no_grad():
            error = (model.score(x, sigma) - true).square().mean() / true.square().mean()
        assert error < 0.02, (sigma, error)


@pytest.mark.behaviour
def test_ncsn_finds_the_weights_where_plain_langevin_does_not(measured) -> None:
    """The larger mode's share is 0.8: annealed within 0.06; Langevin at the last level alone, from a uniform start
    over both modes, stays near a half. The default sampler, seed 0: 0.801; untrained 0.506."""
    model = score_network()
    annealed = model.sample(1500, batch_size=1500)  # the default sampler
    consistent = model.sample(1500, batch_size=1500, sampler=ConsistentAnnealedSampler(steps=60, eta=0.5))
    assert share_of_large_mode(consistent) == pytest.approx(0.8, abs=0.06)
    noise = Noise(1, 0, 1500)
    start = 16 * noise.uniform(2) - 8
    with torch.no_grad():
        plain = AnnealedLangevinSampler(steps_per_level=300, step_size=0.2).solve(model, start, [0.5, 0.0], noise=noise)
    assert abs(share_of_large_mode(plain) - 0.5) < 0.08
    measured(
        "ncsn",
        "error of the larger mode's share; twin: Langevin at the last level alone",
        figure=abs(share_of_large_mode(annealed) - 0.8),
        twin=abs(share_of_large_mode(plain) - 0.8),
        bar=0.06,
        better="lower",
    )
