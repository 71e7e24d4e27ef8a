"""Langevin's and the consistent sampler: a step by hand, the spread of the data by default, and the clip by name."""

from __future__ import annotations

import math

import pytest
import torch
from typer.testing import CliRunner

import gencore
from gencore import Noise
from gencore.cli.app import app
from gencore.errors import GencoreError
from gencore_diffusion.ncsn import NCSNConfig
from gencore_diffusion.parts.denoiser import FunctionDenoiser
from gencore_diffusion.parts.schedules import geometric
from gencore_diffusion.samplers.ideal import ideal_gaussian
from gencore_diffusion.samplers.langevin import (
    EXCESS,
    AnnealedLangevinSampler,
    ConsistentAnnealedSampler,
    best_step_size,
    frozen_variance,
    needed_steps,
    settled_variance,
)
from gencore_diffusion.samplers.sampling import DiffusionSampler
from gencore_diffusion.samplers.solvers import DDPMSampler, EulerSampler, HeunSampler
from tests.plugins.diffusion.diffusion_models import WholeBatch


def test_langevin_update() -> None:
    """x + a/2 score + sqrt(a) z with a = eps sigma_i^2 / sigma_L^2, eps = 0.2 sigma_L^2 (Algorithm 1)."""
    model = ideal_gaussian(0.3, 0.5)
    noise = Noise(4, 0, 3)
    x = noise.normal(1)
    levels = [2.0, 1.0, 0.5]
    expected = x.clone()
    for sigma in levels[:2]:
        for _ in range(2):
            step = 0.2 * levels[1] ** 2 * sigma**2 / levels[1] ** 2
            score = (model.denoise(expected, sigma) - expected) / sigma**2
            expected = expected + step / 2 * score + math.sqrt(step) * noise.normal(1)
    again = Noise(4, 0, 3)
    again.normal(1)
    got = AnnealedLangevinSampler(steps_per_level=2, step_size=0.2).solve(model, x, levels, noise=again)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_langevin_ends_with_a_denoising() -> None:
    """The last state is the model's word at the last level, without noise."""
    x0 = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    model = FunctionDenoiser(lambda x, sigma, _: x0, data_shape=(2,), sigma_min=0.1, sigma_max=2.0)
    sampler = AnnealedLangevinSampler(steps=3, steps_per_level=2)
    assert torch.equal(sampler.sample(model, Noise(0, 0, 3)), x0)


def test_consistent_step_keeps_the_noise_level() -> None:
    """What is left of the old noise and what is added make the next level; the smallest eta is Euler's step."""
    sampler, (s, t) = ConsistentAnnealedSampler(eta=0.5), (2.0, 1.3)
    step = sampler.step(s, t)
    assert (step.px * s) ** 2 + step.other**2 == pytest.approx(t**2)
    assert ConsistentAnnealedSampler(eta=1 - t / s).step(s, t) == pytest.approx(EulerSampler().step(s, t), abs=1e-7)
    with pytest.raises(GencoreError, match="take eta >= 0.5"):
        ConsistentAnnealedSampler(eta=0.1).step(2.0, 1.0)
    for eta in (0.0, 1.1, math.nan):
        with pytest.raises(GencoreError, match="eta is"):
            ConsistentAnnealedSampler(eta=eta)


WIDE = ideal_gaussian(0.0, 0.7, sigma_max=10.0, sigma_min=0.01)


def small(system: str, **options: object) -> gencore.Model:
    made = gencore.recipe(system, **({} if "data_shape" in options else {"data_shape": (1, 8, 8)}), width=8, **options)
    return made.model(made.config).eval()


def spread(sampler: DiffusionSampler, count: int = 4000) -> float:
    """The deviation that a sampler gives at geometric levels, where the data's is 0.7 and the denoiser exact."""
    noise = WholeBatch(count)
    levels = [*geometric(10.0, 0.01, sampler.steps), 0.0]
    return sampler.solve(WIDE, 10.0 * noise.normal(1), levels, noise=noise).std().item()


@pytest.mark.parametrize("ratio", [1.07, 1.44, 3.0])
def test_what_a_chain_settles_at(ratio: float) -> None:
    """The equation against the recursion itself, variance by variance, where the score is that of the noise alone."""
    for steps, size in ((1, 1.2), (5, 0.5), (30, 0.2)):
        variance, shrink = 1.0, size / 2
        for _ in range(300):
            variance *= ratio**2
            for _ in range(steps):
                variance = (1 - shrink) ** 2 * variance + size
        wanted = settled_variance(ratio, steps, size)
        assert wanted == math.inf if variance > 1e6 else wanted == pytest.approx(variance, rel=1e-6)


def test_what_a_chain_freezes_at() -> None:
    """The equation against the sampler itself, with the exact score of data of deviation 0.7."""
    sampler = AnnealedLangevinSampler(steps=20, steps_per_level=30, step_size=0.2)
    expected = frozen_variance(1000 ** (1 / 19), 30, 0.2)
    assert (spread(sampler) / 0.7) ** 2 == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("ratio", [1.072, 1.2, 1.4385, 2.0])
def test_steps_and_their_size_follow_from_the_spacing(ratio: float) -> None:
    steps = needed_steps(ratio)
    for variance in (settled_variance, frozen_variance):
        assert variance(ratio, steps, best_step_size(ratio, steps)) <= EXCESS
    fewer = (ratio, steps - 1, best_step_size(ratio, steps - 1))
    assert max(settled_variance(*fewer), frozen_variance(*fewer)) > EXCESS


def test_what_is_given_is_taken() -> None:
    levels = [1.0, 0.5]
    assert AnnealedLangevinSampler(steps_per_level=7, step_size=0.3).schedule(levels) == (7, 0.3)
    assert AnnealedLangevinSampler(steps_per_level=7).schedule(levels) == (7, best_step_size(2.0, 7))
    assert AnnealedLangevinSampler(step_size=0.1).schedule(levels)[1] == 0.1
    assert AnnealedLangevinSampler().schedule([1.0]) == (100, 0.2)


@pytest.mark.parametrize("levels", [12, 20, 60])
def test_langevin_has_the_spread_of_the_data(levels: int) -> None:
    """NCSN's default at any number of levels; five steps of 0.2 at 20 levels, its default before, fall behind."""
    sampler = small("ncsn", num_levels=levels).default_sampler()
    assert isinstance(sampler, AnnealedLangevinSampler)
    assert sampler == AnnealedLangevinSampler(steps=levels)
    assert spread(sampler) == pytest.approx(0.7, abs=0.05)
    assert settled_variance(NCSNConfig().sigma_max ** (3 / 19), 5, 0.2) > 2


@pytest.mark.parametrize("steps", [25, 100, 400])
def test_the_consistent_sampler_has_the_spread_of_the_data(steps: int) -> None:
    """And approaches it with the number of levels; a constant eta of 0.5 does not, at 400 as at 100."""
    wrong = abs(spread(ConsistentAnnealedSampler(steps=steps)) - 0.7)
    assert wrong < {25: 0.1, 100: 0.05, 400: 0.03}[steps]
    if steps >= 100:
        assert spread(ConsistentAnnealedSampler(steps=steps, eta=0.5)) < 0.62


def test_its_share_is_that_of_ancestral_sampling() -> None:
    for pair in ((2.0, 1.3), (0.5, 0.49)):
        ours, ancestral = ConsistentAnnealedSampler().step(*pair), DDPMSampler().step(*pair)
        assert ours == pytest.approx(ancestral, abs=1e-12)


def test_a_sampler_that_is_named_inherits_the_models_clip() -> None:
    model = small("ddpm")
    own = model.default_sampler()
    assert own.clip == 1.0
    assert model.choose_sampler("heun", {}) == HeunSampler(clip=1.0)
    assert model.choose_sampler("heun", {"clip": None, "steps": 3}) == HeunSampler(steps=3)
    assert model.choose_sampler("heun", {"clip": 2.0}) == HeunSampler(clip=2.0)
    assert model.choose_sampler(HeunSampler(), {}) == HeunSampler(), "one that is given whole stays as it is"
    assert small("ddpm", data_shape=(4,), network="dense").choose_sampler("heun", {}) == HeunSampler()
    for name in ("heun", "dpm++2m", "euler"):
        assert model.sample(4, sampler=name, steps=2).abs().max() <= 1.0 + 1e-4
    assert model.sample(4, sampler="heun", steps=2, clip=None).abs().max() > 1.5


def test_the_clip_can_be_given(tmp_path: object) -> None:
    import numpy as np

    torch.manual_seed(0)
    model = small("ddpm")
    model.system = "ddpm"
    model.save_pretrained(f"{tmp_path}/m")
    for clip, low, high in (("0.25", 0.0, 0.2501), ("none", 1.0001, math.inf), (None, 0.5, 1.0001)):
        words = ["sample", f"{tmp_path}/m", "-n", "2", "-o", f"{tmp_path}/x.npy", "--sampler", "ddim", "--steps", "2"]
        done = CliRunner().invoke(app, [*words, *(() if clip is None else ("--clip", clip))])
        assert done.exit_code == 0, done.output
        assert low <= np.abs(np.load(f"{tmp_path}/x.npy")).max() <= high
    done = CliRunner().invoke(app, ["sample", f"{tmp_path}/m", "--clip", "wide"])
    assert isinstance(done.exception, GencoreError)


@pytest.mark.parametrize("system", ["ddpm", "edm", "ncsn"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes_sample(system: str, dtype: torch.dtype) -> None:
    """With the noise of float32, and about its samples."""
    torch.manual_seed(0)
    model = small(system)
    plain = model.sample(2, sampler="euler", steps=3)
    other = model.to(dtype).sample(2, sampler="euler", steps=3)
    assert other.dtype == dtype
    torch.testing.assert_close(other.float(), plain, rtol=0.1, atol=0.1 * plain.abs().max().item())
