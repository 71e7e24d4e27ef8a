"""DDPM: its levels and settings, and digits drawn as asked.

The judge is a support vector machine on clean digits that no model has seen."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore import Noise
from gencore.data import digits
from gencore.errors import GencoreError
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.networks.build import DenseConfig
from gencore_diffusion.parts.likelihood import bits_per_dim, variational_bound
from gencore_diffusion.samplers.names import DDIMSampler, DDPMSampler, DPMSolverSampler
from tests.plugins.diffusion.diffusion_digits import DENSE, LABELS, drawn, fitted, right, trained, untrained
from tests.plugins.diffusion.diffusion_models import SMALL

pytestmark = pytest.mark.xdist_group("ddpm-digits")  # its tests share what they train


def test_training_warms_up_and_clips() -> None:
    (stage,) = gencore.recipe("ddpm").stages
    (phase,) = stage.phases
    assert (phase.parts, phase.max_gradient_norm) == (("network",), 1.0)
    assert [phase.schedule(step) for step in (0, 99, 199, 200, 5000)] == [0.005, 0.5, 1, 1, 1]


def test_training_levels() -> None:
    """The paper draws the timesteps alike."""
    torch.manual_seed(0)
    model = DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=5))
    drawn_levels = model.draw_sigma(20_000)
    shares = [(drawn_levels / level - 1).abs().lt(1e-9).double().mean().item() for level in model.sigmas.tolist()]
    assert shares == pytest.approx([1 / 5] * 5, abs=0.02)


def test_what_the_network_is_told() -> None:
    """x_t, of unit variance for data of unit variance."""
    sigma = torch.tensor([0.01, 0.7, 50.0], dtype=torch.float64)
    model = DDPM(DDPMConfig(data_shape=(4,), network=SMALL))
    torch.testing.assert_close(model.told(sigma)[0], 1 / (1 + sigma**2).sqrt())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_timesteps": 1}, "num_timesteps is 1"),
        ({"betas": (0.1, 0.2)}, "expected 1000 numbers"),
        ({"prediction": "epsilon"}, "Did you mean 'eps'"),
        ({"num_classes": 0}, "num_classes is 0"),
    ],
)
def test_bad_configs(changes: dict[str, object], message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        DDPMConfig(**changes)


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


@pytest.mark.behaviour
def test_judge_knows_digits() -> None:
    """0.982 of held-out digits."""
    test = digits("test")
    batch = test.fetch(torch.arange(len(test)))
    assert right(batch["x"], batch["label"]) > 0.97


@pytest.mark.behaviour
def test_ddpm_draws_what_it_is_asked_for(measured) -> None:
    """Ancestral from the noise after 1800 iterations, seed 0: 0.94 right (1600: 0.9425, and 1.73; 2500, three seeds:
    0.945 to 0.955, 1.55 to 1.59). Training digits are 0.43 away. The twin is untrained: 0.1, over 10. The default
    sampler, 50 steps of DDIM, seed 0, after 2500: 0.88 right, 1.8 (2.1 after 1800); untrained 0.09, 63."""
    sampler = DDPMSampler(steps=200, clip=1.0)
    (share, distance), (twin, twin_distance) = drawn(sampler, trained("eps")), drawn(sampler, untrained())
    assert distance < 2.0 < 10 < twin_distance
    default, default_distance = drawn(trained("eps").default_sampler(), trained("eps"))
    assert default > 0.8
    assert default_distance < 3.0
    assert twin < 0.25
    measured(
        "ddpm", "share of samples that are of the class asked for", figure=share, twin=twin, bar=0.9, better="higher"
    )


@pytest.mark.behaviour
@pytest.mark.parametrize(
    ("prediction", "sampler", "distance"),
    [
        ("v", DDIMSampler(steps=20, clip=1.0), 1.6),
        ("v", DDIMSampler(steps=10, clip=1.0), 1.8),
        ("v", DPMSolverSampler(steps=15, clip=1.0), 1.4),
        ("v", None, 1.6),
    ],
    ids=["ddim-20", "ddim-10", "dpm++2m-15", "default"],
)
def test_ddpm_draws_it_in_few_steps(prediction: str, sampler: gencore.Sampler | None, distance: float) -> None:
    """In few steps v does better (noise: 0.88 to 0.90 right, 1.8 to 2.0), five seeds: DDIM 0.96 to 0.97, 1.27 to 1.33
    in 20 steps, 0.975 to 0.98, 1.47 to 1.54 in 10; DPM-Solver++ 0.93 to 0.955, 1.07 to 1.14. The default is 50 steps of
    DDIM. The twin is untrained."""
    sampler = sampler or trained(prediction).default_sampler()
    got = drawn(sampler, trained(prediction))
    assert got[0] > 0.9
    assert got[1] < distance
    untold = drawn(sampler, untrained())
    assert untold[0] < 0.25
    assert untold[1] > 10


@pytest.mark.behaviour
def test_guidance_turns_the_label_up() -> None:
    """Scales 0, 1, 2, 4, three seeds: 0.095 to 0.113 right, 0.88, 1.00, 1.00. The spread within a class shrinks from
    scale to scale, and what is gained in fidelity is lost in variety: Frechet 1.8 at 1, 3.4 to 4.0 at 4."""
    scales = (0.0, 1.0, 2.0, 4.0)
    samples = [
        trained().sample(400, condition=LABELS, sampler=DDIMSampler(steps=20, clip=1.0, guidance=scale))
        for scale in scales
    ]
    shares = [right(x, LABELS) for x in samples]
    assert shares[0] < 0.2
    assert shares[1] > 0.8
    assert min(shares[2:]) > 0.97
    spreads = [torch.stack([x[k == LABELS].var(0).mean() for k in range(10)]).mean() for x in samples]
    assert spreads[3] < spreads[2] < spreads[1] < spreads[0]
    distances = [drawn(DDIMSampler(steps=20, clip=1.0, guidance=scale), trained())[1] for scale in (1.0, 4.0)]
    assert distances[1] > distances[0] + 0.8


@pytest.mark.behaviour
def test_bound_beats_uniform_and_the_untrained() -> None:
    """Held-out digits in bits a pixel: 3.255 to 3.261 over three seeds; a uniform model of 17 levels has 4.09.

    0.6 of it is the price of 200 steps with variance beta, which even the exact denoiser of independent pixels pays
    (2.94 for a cross-entropy of 2.34 on these digits): a small network does not resolve the 17 levels.
    """
    test = digits("test").fetch(torch.arange(60))
    bounds = [
        bits_per_dim(
            variational_bound(model, test["x"], Noise(0, 0, 60), bins=17, condition=test["label"]).total.mean(), 64
        )
        for model in (trained(), untrained())
    ]
    assert bounds[0] < 3.4
    assert bounds[1] > 4.5


@pytest.mark.behaviour
def test_learned_variance_shortens_the_code() -> None:
    """Bits a pixel of held-out digits by 200 and by 50 steps: learned 3.26 and 3.32, the best fixed variance 3.36 and
    3.62 (three seeds within 0.02). The twin, its half of the head at its initial 0, has the posterior's: 4.16, 9.1."""
    model = fitted("ddpm", variance="learned", bins=17, **DENSE)
    test = digits("test").fetch(torch.arange(120))

    def bits(variance: str, steps: int) -> float:
        bound = variational_bound(model, test["x"], Noise(0, 0, 120), bins=17, variance=variance, steps=steps)
        return bits_per_dim(bound.total.mean(), 64).item()

    for steps, gain in ((200, 0.05), (50, 0.2)):
        assert bits("learned", steps) < min(bits("beta", steps), bits("posterior", steps)) - gain
    with torch.no_grad():
        model.network.head.weight[64:] = 0
        model.network.head.bias[64:] = 0
    assert bits("learned", 200) > bits("beta", 200) + 0.5
    assert bits("learned", 50) > bits("beta", 50) + 0.5
