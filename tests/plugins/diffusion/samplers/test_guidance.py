"""Guidance and classifier guidance, on closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gencore import Noise
from gencore.errors import GencoreError
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.networks.build import DenseConfig
from gencore_diffusion.parts.denoiser import FunctionDenoiser
from gencore_diffusion.samplers.guidance import ClassifierGuided
from gencore_diffusion.samplers.ideal import ideal_gaussian, ideal_mixture
from gencore_diffusion.samplers.solvers import DDIMSampler, DDPMSampler, DPMSolverSampler, HeunSampler
from gencore_diffusion.samplers.stepping import Settings, Step, Stepper


@pytest.fixture(scope="module")
def labelled() -> DDPM:
    """A class-conditional model with random weights, so that every label gives another prediction."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = DDPMConfig(data_shape=(6,), network=DenseConfig(hidden=16, layers=1), num_timesteps=50, num_classes=3)
        model = DDPM(config).eval()
        torch.nn.init.normal_(model.network.head.weight)
    return model


LABELS = torch.tensor([0, 2, 1, 1])


@pytest.mark.parametrize("kind", [DDIMSampler, DDPMSampler, HeunSampler, DPMSolverSampler])
def test_guidance_zero_and_one_bit_for_bit(labelled: DDPM, kind: type) -> None:
    """0 is the unconditional model, 1 the conditional one."""

    def alone(labels: Tensor) -> FunctionDenoiser:
        """The model asked with fixed labels, by a loop that knows nothing of guidance."""
        asked = FunctionDenoiser(
            lambda x, sigma, _: labelled.network(x, labelled.level(sigma).float(), labels),
            data_shape=(6,),
            sigma_min=labelled.sigma_min,
            sigma_max=labelled.sigma_max,
            parametrization="eps",
            preserves_variance=True,
        )
        asked.grid = labelled.grid  # type: ignore[method-assign]
        return asked

    with torch.no_grad():
        unconditional = kind(steps=5).sample(alone(torch.full((4,), 3)), Noise(1, 0, 4))
        conditional = kind(steps=5).sample(alone(LABELS), Noise(1, 0, 4))
    assert torch.equal(labelled.sample(4, seed=1, condition="null", sampler=kind(steps=5)), unconditional)
    assert torch.equal(labelled.sample(4, seed=1, condition=LABELS, sampler=kind(steps=5, guidance=0.0)), unconditional)
    assert torch.equal(labelled.sample(4, seed=1, condition=LABELS, sampler=kind(steps=5)), conditional)
    assert not torch.allclose(conditional, unconditional, atol=1e-2)


@pytest.mark.parametrize(("guidance", "shown"), [(0.0, [3, 3]), (1.0, [0, 2]), (2.0, [0, 2, 3, 3])])
def test_what_the_network_is_asked(labelled: DDPM, guidance: float, shown: list[int]) -> None:
    """At 0 and 1 one prediction an example, else two in one batch."""
    seen: list[list[int]] = []
    hook = labelled.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2].tolist()))
    labelled.sample(2, condition=torch.tensor([0, 2]), sampler=DDIMSampler(steps=3, guidance=guidance))
    hook.remove()
    assert seen == [shown] * 3


def test_guidance_is_a_line_through_both(labelled: DDPM) -> None:
    """x0 at scale g is null + g (label - null)."""
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    plan = [Step(1.3, 1.0, 0.0)]
    with torch.no_grad():
        null, label, guided = (
            Stepper(labelled, plan, x, LABELS, Settings(guidance=scale))(x, 0) for scale in (0.0, 1.0, 2.5)
        )
    torch.testing.assert_close(guided, null + 2.5 * (label - null), rtol=1e-4, atol=1e-5)


def test_guided_score_of_gaussians() -> None:
    """p(x | c) = N(1.5, 0.3), p(x) = N(0, 1.3), scale 3: at sigma -> 0 the score of N(1.7727, 0.1182); at any sigma
    that of the two noised Gaussians' combination."""
    centre, within, between, scale = 1.5, 0.3, 1.0, 3.0

    def combined(noise: float) -> tuple[float, float]:
        """Mean and variance of N(x | c)^scale N(x)^(1 - scale), both with the noise's variance added."""
        precision = scale / (within + noise) - (scale - 1) / (within + between + noise)
        return scale * centre / (within + noise) / precision, 1 / precision

    assert combined(0.0) == (pytest.approx(1.7727, abs=1e-4), pytest.approx(0.1182, abs=1e-4))
    conditional = ideal_gaussian(centre, math.sqrt(within))
    unconditional = ideal_gaussian(0.0, math.sqrt(within + between))

    def both(x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        assert condition is not None
        asked = conditional.denoise(x, sigma), unconditional.denoise(x, sigma)
        return torch.where(condition[:, None] == 1, *asked)

    model = FunctionDenoiser(both, data_shape=(1,), sigma_min=1e-4, sigma_max=20.0)
    model.labels = lambda condition, count: torch.zeros(count) if condition is None else condition  # type: ignore
    x = torch.linspace(-2, 3, 6, dtype=torch.float64)[:, None]
    for sigma in (0.05, 0.5, 3.0):
        stepper = Stepper(model, [Step(sigma, 1.0, 0.0)], x, torch.ones(6), Settings(guidance=scale))
        mean, variance = combined(sigma**2)
        torch.testing.assert_close((stepper(x, 0) - x) / sigma**2, (mean - x) / variance, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("guidance", [2.0, -1.0])
def test_guidance_needs_a_condition(labelled: DDPM, guidance: float) -> None:
    with pytest.raises(GencoreError, match="no condition to guide towards"):
        labelled.sample(2, condition="null", sampler=DDIMSampler(steps=3, guidance=guidance))


def test_guidance_on_an_unconditional_model() -> None:
    model = DDPM(DDPMConfig(data_shape=(6,), network=DenseConfig(hidden=16, layers=1), num_timesteps=50))
    with pytest.raises(GencoreError, match="unconditional"):
        model.sample(2, condition=1, sampler=DDIMSampler(steps=3, guidance=2.0))
    with pytest.raises(GencoreError, match="no condition to guide towards"):
        model.sample(2, sampler=DDIMSampler(steps=3, guidance=2.0))
    unlabelled = FunctionDenoiser(lambda x, sigma, c: x, data_shape=(1,), sigma_min=0.1, sigma_max=2.0)
    with pytest.raises(GencoreError, match="no prediction without a label"):
        DDIMSampler(steps=3, guidance=2.0).sample(unlabelled, Noise(0, 0, 2), condition=torch.tensor([0, 1]))


@pytest.mark.parametrize("condition", [3, -1, torch.tensor([0.0, 1.0]), torch.tensor([[0], [1]])])
def test_labels_out_of_range(labelled: DDPM, condition: object) -> None:
    with pytest.raises(GencoreError, match="integers from 0 to 2"):
        labelled.sample(2, condition=condition, sampler=DDIMSampler(steps=3))


TWO = {"weights": [0.4, 0.6], "means": [[-1.0, 0.5], [1.0, 0.0]], "deviation": 0.4}


def posterior_classifier(x: Tensor, sigma: Tensor) -> Tensor:
    """log p(k | x; sigma) of TWO, up to a constant."""
    total = TWO["deviation"] ** 2 + sigma[:, None] ** 2
    means = torch.tensor(TWO["means"], dtype=x.dtype)
    return torch.tensor(TWO["weights"], dtype=x.dtype).log() - (x[:, None] - means).square().sum(2) / (2 * total)


def test_classifier_guidance_with_bayes_classifier_is_the_conditional() -> None:
    """Scale 1 with the true p(y | x): the conditional denoiser, exactly; scale 0: the unconditional one."""
    model = ideal_mixture(**TWO)
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    sigma = torch.linspace(0.1, 3.0, 6, dtype=torch.float64)
    guided = ClassifierGuided(model, posterior_classifier).predict(x, sigma, labels)
    torch.testing.assert_close(guided, model.denoise(x, sigma, labels), rtol=1e-9, atol=1e-9)
    off = ClassifierGuided(model, posterior_classifier, scale=0.0).predict(x, sigma, labels)
    torch.testing.assert_close(off, model.denoise(x, sigma, torch.full((6,), -1)))


def test_classifier_guided_samples() -> None:
    """All samples in the asked component; without guidance the mixture's share."""
    model, noise = ideal_mixture(**TWO), (0, 0, 500)
    wanted = torch.zeros(500, dtype=torch.int64)
    free = DDIMSampler(steps=40).sample(model, Noise(*noise))
    guided = DDIMSampler(steps=40).sample(
        ClassifierGuided(model, posterior_classifier, scale=2.0), Noise(*noise), condition=wanted
    )
    assert (guided[:, 0] < 0).float().mean() > 0.99
    assert 0.3 < (free[:, 0] < 0).float().mean() < 0.5


def test_classifier_guidance_needs_classes() -> None:
    guided = ClassifierGuided(ideal_mixture(**TWO), posterior_classifier)
    with pytest.raises(GencoreError, match="wanted classes"):
        DDIMSampler(steps=3).sample(guided, Noise(0, 0, 2))
