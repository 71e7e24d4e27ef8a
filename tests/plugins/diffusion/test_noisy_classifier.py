"""The noise-conditional classifier: its loss, what it refuses, and what it does for guidance."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gencore
from gencore import Noise
from gencore.data import digits
from gencore.errors import GencoreError
from gencore.training.run import RunSettings, next_command, train
from gencore_diffusion.edm import EDM, EDMConfig
from gencore_diffusion.networks.build import DenseConfig
from gencore_diffusion.networks.unet import UNetConfig
from gencore_diffusion.noisy_classifier import (
    DownNetwork,
    NoisyClassification,
    NoisyClassifier,
    NoisyClassifierConfig,
)
from gencore_diffusion.samplers.guidance import ClassifierGuided
from gencore_diffusion.samplers.ideal import ideal_mixture
from gencore_diffusion.samplers.names import DDIMSampler
from tests.plugins.diffusion.diffusion_digits import LABELS, fitted, right, trained

pytestmark = pytest.mark.xdist_group("ddpm-digits")  # its tests share what they train

SMALL = DenseConfig(hidden=16, layers=1)


def classifier(**changes: object) -> NoisyClassifier:
    """Two numbers, two classes; the last layer, which begins at zero, is awake."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NoisyClassifier(
            NoisyClassifierConfig(**{"data_shape": (2,), "network": SMALL, "num_classes": 2, **changes})
        )
        torch.nn.init.normal_(model.network.head.weight, std=0.3)
    return model


def test_networks_see_every_pixel_the_level_and_no_neighbour() -> None:
    config = UNetConfig(channels=(8, 16), attention=(False, True), head_dim=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DownNetwork(config, image_channels=2, outputs=3).eval()
    x = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    level = torch.tensor([10.0, 500.0])
    out = network(x, level, None)
    assert out.shape == (2, 3)
    assert not torch.allclose(network(x, level.flip(0), None), out, atol=1e-4)
    (slope,) = torch.autograd.grad(out[0].square().sum(), x)
    assert (slope[0] != 0).all()
    assert (slope[1] == 0).all()


def test_loss_is_the_cross_entropy_of_noised_data() -> None:
    """Written out: log sigma uniform over the range, logits at x0 + sigma eps, mean of -log p(y)."""
    model = classifier(sigma_min=0.1, sigma_max=10.0)
    x0, labels = torch.randn(32, 2, generator=torch.Generator().manual_seed(2)), torch.arange(32) % 2
    torch.manual_seed(7)
    loss = NoisyClassification().loss(model, "classifier", {"x": x0, "label": labels})
    torch.manual_seed(7)
    sigma = 0.1 * 100 ** torch.rand(32, dtype=torch.float64)
    noisy = x0 + sigma[:, None].float() * torch.randn(32, 2)
    logs = model.judge(noisy, sigma=sigma)
    torch.testing.assert_close(loss.total, -logs[torch.arange(32), labels].mean(), rtol=1e-5, atol=1e-6)
    assert loss.metrics["accuracy"] == (logs.argmax(1) == labels).float().mean()
    drawn = model.draw_sigma(4000).log()
    assert drawn.exp().min() >= 0.1
    assert drawn.exp().max() <= 10.0
    assert drawn.mean() == pytest.approx(0.0, abs=0.1)
    assert drawn.std() == pytest.approx(math.log(100) / math.sqrt(12), abs=0.05)


def test_judge() -> None:
    """Log-probabilities: of all classes, of the given labels; of clean data where no level is named."""
    model, x = classifier(sigma_min=0.1), torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    logs = model.judge(x)
    torch.testing.assert_close(logs.exp().sum(1), torch.ones(3))
    assert torch.equal(model.judge(x, sigma=0.1), logs)
    assert not torch.allclose(model.judge(x, sigma=5.0), logs, atol=1e-3)
    labels = torch.tensor([1, 0, 1])
    assert torch.equal(model.judge(x, condition=labels), logs[torch.arange(3), labels])


def test_it_learns_p_of_y_given_noisy_x() -> None:
    """Two Gaussians at +-1 of deviation 0.5: after a short training log p(y | x; sigma) is Bayes' at every level."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(4000, generator=generator) < 0.7).long()
    x0 = (2.0 * labels - 1)[:, None] + 0.5 * torch.randn(4000, 1, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = classifier(data_shape=(1,), sigma_min=0.1, sigma_max=5.0)
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(400):
            loss = NoisyClassification().loss(model, "classifier", {"x": x0[:1000], "label": labels[:1000]}).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for sigma in (0.2, 1.0, 3.0):
        x = x0 + sigma * torch.randn(4000, 1, generator=generator)
        with torch.no_grad():
            got = model.judge(x, sigma=sigma)[:, 1].exp()
        bayes = torch.sigmoid(math.log(0.7 / 0.3) + 2 * x[:, 0] / (0.25 + sigma**2))
        assert (got - bayes).abs().mean() < 0.04, sigma


def test_slope_is_the_model_s_own() -> None:
    """Guidance adds scale sigma^2 grad log p(y | x; sigma), the gradient of `judge`."""
    model, x0_model = classifier(), ideal_mixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 0.4)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    sigma, labels = torch.full((4,), 0.7, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    (slope,) = torch.autograd.grad(model.judge(x, condition=labels, sigma=sigma).sum(), x)
    guided = ClassifierGuided(x0_model, model, scale=2.5).predict(x, sigma, labels)
    torch.testing.assert_close(guided, x0_model.denoise(x, 0.7) + 2.5 * 0.49 * slope)
    assert slope.abs().max() > 1e-3


def test_refusals() -> None:
    with pytest.raises(GencoreError, match="data have none"):
        NoisyClassification().loss(classifier(), "classifier", {"x": torch.zeros(2, 2)})
    with pytest.raises(GencoreError, match="integers from 0 to 1"):
        NoisyClassification().loss(classifier(), "classifier", {"x": torch.zeros(1, 2), "label": torch.tensor([2])})
    with pytest.raises(GencoreError, match="integers from 0 to 1"):
        classifier().judge(torch.zeros(1, 2), condition=torch.tensor([-1]))
    with pytest.raises(GencoreError, match="positive noise levels"):
        classifier().judge(torch.zeros(1, 2), sigma=0.0)
    for changes, message in (
        ({"num_classes": 1}, "num_classes is 1"),
        ({"sigma_min": 200.0}, "sigma_min is 200"),
        ({"network": UNetConfig()}, r"data_shape is \(2,\)"),
    ):
        with pytest.raises(GencoreError, match=message):
            classifier(**changes)
    with pytest.raises(GencoreError, match="network is 'dit'"):
        gencore.recipe("noisy-classifier", network="dit")
    with pytest.raises(GencoreError, match="takes no label|no sampler of its own"):
        classifier().sample(2)


def test_guidance_refuses_a_classifier_that_does_not_fit() -> None:
    """Another shape, a narrower range, a class that it does not know."""
    model = EDM(EDMConfig(data_shape=(2,), network=SMALL, sigma_min=0.01, sigma_max=50.0))
    with pytest.raises(GencoreError, match=r"shape \(3,\), the model for \(2,\)"):
        ClassifierGuided(model, classifier(data_shape=(3,)))
    for changes in ({"sigma_max": 49.0}, {"sigma_min": 0.0102}):
        with pytest.raises(GencoreError, match="trained from sigma"):
            ClassifierGuided(model, classifier(**changes))
    ClassifierGuided(model, classifier(sigma_min=0.01, sigma_max=50.0))
    guided = ClassifierGuided(model, classifier())
    with pytest.raises(GencoreError, match="integers from 0 to 1"):
        DDIMSampler(steps=2).sample(guided, Noise(0, 0, 2), condition=torch.tensor([0, 5]))


@pytest.mark.parametrize("name", ["ddpm", "ncsn", "edm"])
def test_default_range_holds_the_other_systems_ranges(name: str) -> None:
    recipe, classes = gencore.recipe(name), gencore.recipe("noisy-classifier")
    ClassifierGuided(recipe.model(recipe.config), classes.model(classes.config))


def test_its_card_and_its_next_command_are_true(tmp_path: Path) -> None:
    """It neither samples nor reconstructs, and nothing tells a reader to try."""
    settings = RunSettings(system="noisy-classifier", steps=1, set=("width=8",))
    train(settings, tmp_path / "run", quiet=True)
    card = (tmp_path / "run" / "README.md").read_text()
    assert "model.judge(x)" in card
    assert "sample" not in card
    assert "print(gencore.from_pretrained" in next_command(settings, tmp_path / "run")
    assert isinstance(gencore.from_pretrained(tmp_path / "run"), NoisyClassifier)


@functools.cache
def fitted_classifier(sigma_max: float) -> gencore.Model:
    """p(y | x; sigma) for sigma from 0.02, which is invisible, to sigma_max."""
    arguments = {"width": 128, "depth": 2, "steps": 2000, "ema_half_life": 100}
    return fitted("noisy-classifier", sigma_min=0.02, sigma_max=sigma_max, **arguments)


def steered(scale: float, guide: Callable[[Tensor, Tensor], Tensor]) -> float:
    """The share of samples of the asked class, from the model without its labels, steered by `guide`."""
    guided = ClassifierGuided(trained(), guide, scale=scale)
    with torch.no_grad():
        x = DDIMSampler(steps=20, clip=1.0).sample(guided, Noise(0, 0, 400), condition=LABELS)
    return right(x, LABELS)


@pytest.mark.behaviour
def test_classifier_guidance_steers() -> None:
    """Scales 0, 1, 3, three seeds: 0.095 to 0.113 of the asked class, 0.657 to 0.68, 0.92 to 0.95. The twin follows
    the slope downhill: below 0.01."""
    noisy = fitted_classifier(200.0)
    shares = [steered(scale, noisy) for scale in (0.0, 1.0, 3.0)]
    assert shares[0] < 0.2
    assert shares[1] > 0.6
    assert shares[2] > 0.85
    assert steered(-3.0, noisy) < 0.05


@pytest.mark.behaviour
def test_classifier_guidance_needs_a_noisy_classifier(measured) -> None:
    """The twin is trained without noise. It judges clean digits well, is refused, and where it is forced in
    as a plain function it fails both bars above: 0.395 to 0.43 at scale 1, 0.45 to 0.48 at scale 3."""
    clean = fitted_classifier(0.0201)
    test = digits("test").fetch(torch.arange(200))
    with torch.no_grad():
        assert (clean.judge(test["x"]).argmax(1) == test["label"]).float().mean() > 0.9
    with pytest.raises(GencoreError, match="trained from sigma"):
        ClassifierGuided(trained(), clean)
    assert steered(1.0, lambda x, sigma: clean(x, sigma)) < 0.6
    measured(
        "noisy-classifier",
        "share of samples steered to their class at scale 3; twin: trained without noise",
        figure=steered(3.0, fitted_classifier(200.0)),
        twin=steered(3.0, lambda x, sigma: clean(x, sigma)),
        bar=0.85,
        better="higher",
    )
