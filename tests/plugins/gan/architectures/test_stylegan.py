"""StyleGAN: AdaIN, noise, mixing and truncation as the paper has them; its pictures are in the styles."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from gencore.evaluation import frechet_distance, train_classifier
from gencore_gan.architectures.stylegan import (
    Mixing,
    StyleAdversarial,
    StyleGAN,
    StyleGANConfig,
    adaptive_instance_norm,
)

CONFIG = StyleGANConfig(data_shape=(2, 16, 16), latent_dim=5, style_dim=6, mapping_layers=2, width=3)


@pytest.fixture
def model() -> StyleGAN:
    torch.manual_seed(0)
    return StyleGAN(CONFIG)


def noisy(model: StyleGAN) -> StyleGAN:
    for layer in model.synthesis.layers:
        nn.init.constant_(layer.noise.scale, 0.5)
    return model


def test_adain_gives_maps_the_styles_mean_and_deviation() -> None:
    torch.manual_seed(0)
    scale, shift = torch.rand(4, 3) + 0.5, torch.randn(4, 3)
    out = adaptive_instance_norm(5 + 3 * torch.randn(4, 3, 6, 6), scale, shift)
    torch.testing.assert_close(out.mean((2, 3)), shift, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.std((2, 3), correction=0), scale, rtol=1e-4, atol=1e-5)


def test_style_zero_leaves_maps_normal(model: StyleGAN) -> None:
    """The style's scale is 1 + its part of A w, so that a layer begins near plain instance normalisation."""
    out = model.synthesis.layers[2](torch.randn(3, 6, 8, 8), torch.zeros(3, 6), torch.zeros(3, 1, 8, 8))
    torch.testing.assert_close(out.std((2, 3), correction=0), torch.ones(3, 6), rtol=1e-4, atol=1e-5)


def test_critic_pays_for_its_slope_at_real_images(model: StyleGAN) -> None:
    """10/2 E ||grad D(x)||^2 on top of the game."""
    x, totals = torch.rand(4, 2, 16, 16), []
    for r1 in (0.0, 10.0):
        torch.manual_seed(1)
        totals.append(StyleAdversarial(r1=r1, mixing=0.9).loss(model, "critic", {"x": x}).total)
    points = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.judge(points).sum(), points)
    torch.testing.assert_close(totals[1] - totals[0], 5 * slope.square().sum() / 4, rtol=1e-3, atol=1e-5)


def test_noise(model: StyleGAN) -> None:
    """At the start pictures do not depend on it; then each layer's part of the code counts, and z alone has none."""
    z = model.draw_prior(gencore.Noise(0, 0, 3))
    assert model.config.sides == (4, 4, 8, 8, 16, 16)
    assert z.shape == (3, 5 + 2 * (16 + 64 + 256))
    torch.testing.assert_close(model.generate(z), model.generate(z[:, :5]))
    noisy(model)
    silent = z.clone()
    silent[:, 5:] = 0
    torch.testing.assert_close(model.generate(silent), model.generate(z[:, :5]))
    for start in (5, 5 + 16, 5 + 32, 5 + 32 + 64, 5 + 160, 5 + 160 + 256):
        other = z.clone()
        other[:, start] += 1
        assert not torch.equal(model.generate(other), model.generate(z))


def test_truncation(model: StyleGAN) -> None:
    """psi = 1 is plain sampling, 0 one picture: that of the average style."""
    model.style_average.copy_(model.styles(torch.randn(500, 5))[:, 0].mean(0).detach())
    z = model.draw_prior(gencore.Noise(0, 0, 3))
    torch.testing.assert_close(model.sample(3, truncation=1.0), model.generate(z).detach())
    one = model.sample(3, truncation=0.0)
    torch.testing.assert_close(one[1:], one[:-1])
    average = model.style_average.expand(1, 6, 6)
    torch.testing.assert_close(one[:1], model.synthesise(average, z[:1]).clamp(-1, 1).detach())


def test_mixing_in_training(model: StyleGAN) -> None:
    """With probability 0 pictures are of one code; with 1 each has a second code, in its last layer at least."""
    z = model.draw_prior(gencore.Noise(0, 0, 64))
    seen: list[Tensor] = []
    model.synthesis.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    alone, mixing = Mixing(model, 0.0), Mixing(model, 1.0)
    torch.testing.assert_close(alone.generate(z).clamp(-1, 1), model.generate(z))
    styles = model.styles(z).detach()
    torch.testing.assert_close(seen[0], styles)
    torch.testing.assert_close(alone.mean_style, styles[:, 0].mean(0))
    mixing.generate(z)
    own = (seen[-1] == styles).all(2)
    assert own[:, 0].all()
    assert not own[:, -1].any()
    assert len(own.sum(1).unique()) == 5  # the crossover is anywhere from layer 1 to 5
    assert (own.int().diff(dim=1) <= 0).all()


def test_average_follows_the_generators_steps(model: StyleGAN) -> None:
    objective = StyleAdversarial(r1=10.0, mixing=0.9, average_decay=0.75)
    x = torch.rand(4, 2, 16, 16)
    seen = objective.loss(model, "generator", {"x": x}).seen
    assert seen.shape == (6,)
    assert not seen.requires_grad
    objective.after_step(model, "critic", [])
    assert model.style_average.abs().sum() == 0
    objective.after_step(model, "generator", [torch.ones(6), torch.full((6,), 3.0)])
    torch.testing.assert_close(model.style_average, torch.full((6,), 0.5))


def test_mapping_learns_a_hundred_times_slower(model: StyleGAN) -> None:
    assert all(layer.rate == 0.01 for layer in model.mapping if hasattr(layer, "rate"))
    assert all(layer.style.rate == 1 for layer in model.synthesis.layers)


@pytest.mark.parametrize("wrong", [{"mixing": 1.5}, {"style_dim": 0}, {"data_shape": (1, 12, 12)}])
def test_bad_arguments(wrong: dict) -> None:
    with pytest.raises(GencoreError, match=next(iter(wrong))):
        gencore.recipe("stylegan", **wrong)


class Styleless(StyleGAN):
    """The twin: all pictures have the style w = 0, so that only the noise tells them apart."""

    def styles(self, z: Tensor) -> Tensor:
        return 0 * super().styles(z)


def quality(model_class: type[StyleGAN], seed: int) -> tuple[float, list[float]]:
    """The Frechet distance to the training digits, and the spread of samples at psi = 0, 0.3, 0.7 and 1."""
    train = digits("train")
    recipe = gencore.recipe("stylegan", width=8, steps=200, batch_size=32, learning_rate=1e-3)
    trainer = gencore.Trainer(dataclasses.replace(recipe, model=model_class), train, seed=seed, cpu=True)
    trainer.fit()
    classifier, real = train_classifier(train), train.fetch(torch.arange(len(train)))["x"]
    with trainer.published() as model:
        spread = [model.sample(200, seed=0, truncation=psi).std(0).mean().item() for psi in (0.0, 0.3, 0.7, 1.0)]
        samples = model.sample(1000, seed=0)
    return frechet_distance(classifier.features(real), classifier.features(samples)), spread


@pytest.mark.behaviour
def test_pictures_are_in_the_styles(measured) -> None:
    """The spread of samples at psi = 0, which the noise alone makes, over that at psi = 1, after 200 steps. Measured at
    seed 0: page 0.056; without styles 1.0, as truncation has nothing to hold. Quality tells nothing at this size: the
    Frechet distance is 73 with styles, 72 from noise alone, 114 and more without training."""
    (page, spread), (_, spread_without) = quality(StyleGAN, 0), quality(Styleless, 0)
    assert page < 100
    assert sorted(spread) == spread
    what = "spread of samples that is left without styles"
    figure, twin = spread[0] / spread[3], spread_without[0] / spread_without[3]
    measured("stylegan", what, figure=figure, twin=twin, bar=0.5, better="lower")
