"""Progressive growing: the fade's two ends, what trains at a level, the switch and a resume across it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate

import gencore
from gencore.adversarial.penalties import Drift
from gencore.data import digits
from gencore.errors import GencoreError
from gencore.testing.conformance import StopAt
from gencore_gan.architectures.progressive_gan import AtLevel, Growing, ProgressiveGAN, ProgressiveGANConfig, grow
from gencore_gan.parts.growing import channels_by_level, enlarged
from tests.plugins.default_sampler import draws_nearer

CONFIG = ProgressiveGANConfig(data_shape=(2, 16, 16), latent_dim=5, width=3)


def test_channels() -> None:
    assert channels_by_level(16, 3) == (12, 6, 3)
    assert channels_by_level(256, 8) == (128, 128, 128, 64, 32, 16, 8)


@pytest.mark.parametrize("level", [1, 2])
def test_ends_of_the_fade(level: int) -> None:
    """Generator: alpha 0 is the level below, enlarged; 1 is the new path alone. Critic: alpha 0 is the level below on
    reduced images."""
    torch.manual_seed(0)
    model, z = ProgressiveGAN(CONFIG), torch.randn(3, 5)
    generator, critic = model.generator, model.critic
    torch.testing.assert_close(generator(z, level, 0.0), enlarged(generator(z, level - 1, 1.0)))
    x = torch.rand(3, 2, 4 * 2**level, 4 * 2**level)
    torch.testing.assert_close(critic(x, level, 0.0), critic(avg_pool2d(x, 2), level - 1, 1.0))
    middle = torch.lerp(generator(z, level, 0.0), generator(z, level, 1.0), 0.3)
    torch.testing.assert_close(generator(z, level, 0.3), middle)
    full = generator(z, level, 1.0)
    nn.init.constant_(generator.to_image[level - 1].bias, 7.0)
    assert torch.equal(generator(z, level, 1.0), full)


def test_critic_sees_its_batch() -> None:
    """Twice the same image is judged otherwise than beside another one."""
    torch.manual_seed(0)
    model, x = ProgressiveGAN(CONFIG), torch.rand(2, 2, 16, 16)
    assert not torch.allclose(model.judge(x)[0], model.judge(x[:1].expand(2, -1, -1, -1))[0])


def test_real_images_are_faded_alike() -> None:
    model, x = ProgressiveGAN(CONFIG), torch.rand(3, 2, 16, 16)
    grow(model, 1)
    reduced = avg_pool2d(x, 2)
    torch.testing.assert_close(AtLevel(model).batch(x)["x"], enlarged(avg_pool2d(reduced, 2)))
    model.alpha.fill_(1.0)
    torch.testing.assert_close(AtLevel(model).batch(x)["x"], reduced)
    grow(model, 0)
    torch.testing.assert_close(AtLevel(model).batch(x)["x"], avg_pool2d(x, 4))


def test_alpha_rises_with_the_generators_steps() -> None:
    model, objective = ProgressiveGAN(CONFIG), Growing(gradient_penalty=10.0, drift=0.001, fade_steps=4)
    grow(model, 1)
    alphas = []
    for _ in range(6):
        alphas.append(model.alpha.item())
        objective.after_step(model, "critic", [])
        objective.after_step(model, "generator", [])
    assert alphas == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_drift_by_hand() -> None:
    """0.5 (1 + 9) / 2, of real examples alone."""
    loss = Drift(weight=0.5)(lambda x: x[:, 0], torch.tensor([[1.0], [-3.0]]), torch.full((2, 1), 100.0))
    assert loss.total.item() == 2.5


def test_levels_above_wait() -> None:
    """Training at a level leaves the networks above it as they are, to the bit."""
    recipe = gencore.recipe("progressive-gan", data_shape=(1, 16, 16), width=2, latent_dim=4, steps=2, batch_size=8)
    trainer = gencore.Trainer(recipe, digits("train", 16), cpu=True, callbacks=(StopAt(4),))
    before = {name: p.clone() for name, p in trainer.model.named_parameters()}
    trainer.fit()
    untouched = {name for name, p in trainer.model.named_parameters() if torch.equal(p, before[name])}
    above = {n for n in before if (".2." in n and ("image" in n)) or "blocks.1." in n}
    assert untouched == above


@pytest.mark.parametrize("stop", [3, 4, 5])
def test_resume_across_a_switch_is_exact(stop: int) -> None:
    """One step before the switch, at it, and one after it, inside the fade: model, average, alpha, optimisers."""

    def trainer(*callbacks: StopAt) -> gencore.Trainer:
        recipe = gencore.recipe("progressive-gan", width=2, latent_dim=4, steps=4, batch_size=8)
        return gencore.Trainer(recipe, digits("train"), seed=1, cpu=True, callbacks=callbacks)

    whole = trainer()
    whole.fit()
    expected = whole.state().tensors
    first = trainer(StopAt(stop))
    first.fit()
    state = first.state()
    second = trainer()
    second.load_state(state)
    second.fit()
    got = second.state().tensors
    assert expected.keys() == got.keys()
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []


@pytest.mark.parametrize("wrong", [{"fade_share": 1.5}, {"data_shape": (1, 10, 10)}, {"drift": -1.0}])
def test_bad_arguments(wrong: dict) -> None:
    with pytest.raises(GencoreError, match="weight" if "drift" in wrong else next(iter(wrong))):
        gencore.recipe("progressive-gan", **wrong)


def jump(*, faded: bool, seed: int) -> float:
    """The mean change of samples at the moment when 8 x 8 joins a generator trained at 4 x 4."""
    recipe = gencore.recipe("progressive-gan", width=8, steps=100, batch_size=32, learning_rate=1e-3)
    first = dataclasses.replace(recipe, stages=recipe.stages[:1])
    model = gencore.Trainer(first, digits("train"), seed=seed, cpu=True).fit()
    before = model.sample(200, seed=0)
    recipe.stages[1].begin(model)
    if faded:
        coarse = avg_pool2d(digits("train").x, 2)  # what it draws as long as the new level has no say
        draws_nearer(model, interpolate(coarse, scale_factor=2))
    else:
        model.alpha.fill_(1.0)
    return (model.sample(200, seed=0) - before).abs().mean().item()


@pytest.mark.behaviour
def test_a_new_level_joins_without_a_jump(measured) -> None:
    """Mean absolute change of pixels in [-1, 1]. Measured at seeds 0, 1, 2: page 0.0 at all, switched on at once 1.11,
    0.87, 0.82."""
    page, twin = jump(faded=True, seed=0), jump(faded=False, seed=0)
    what = "change of samples when a level joins"
    measured("progressive-gan", what, figure=page, twin=twin, bar=1e-5, better="lower")
