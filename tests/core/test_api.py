"""By name: a recipe whose defaults follow the data."""

from __future__ import annotations

import pytest

import gencore

SIZED = [spec.name for spec in gencore.list_systems() if spec.sized]


@pytest.mark.parametrize("system", SIZED)
@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 32, 32), (3, 64, 64), (3, 128, 128), (3, 50, 50)])
def test_defaults_follow_the_data_and_what_is_given_wins(system: str, shape: tuple[int, ...]) -> None:
    """With and without arguments of one's own; data of the default's size get the default."""
    if system in ("conv-vae", "dcgan") and shape[1] in (28, 50):
        pytest.skip("its networks take sides of 4, 8, 16, ...")
    small, large = gencore.recipe(system), gencore.recipe(system, data_shape=shape)
    assert large.config.data_shape == shape
    assert gencore.recipe(system, data_shape=small.config.data_shape).config == small.config
    given = gencore.recipe(system, data_shape=shape, steps=7, batch_size=5)
    assert (given.stages[0].steps, given.batch_size) == (7, 5)
    assert given.config == large.config


def test_what_they_are() -> None:
    """Widths, latents, patches and steps."""
    shape = (3, 64, 64)
    assert gencore.recipe("vae", data_shape=(1, 32, 32)).config.latent_dim == 16
    assert gencore.recipe("vae", data_shape=shape).config.hidden == (512, 512)
    assert gencore.recipe("vae", data_shape=shape, hidden=(8,)).config.hidden == (8,)
    convolutional = gencore.recipe("conv-vae", data_shape=shape).config
    assert (convolutional.latent_dim, convolutional.width) == (64, 16)
    for system in ("ddpm", "edm"):
        made = gencore.recipe(system, data_shape=shape)
        assert (made.config.network.patch_size, made.config.network.channels) == (4, (48, 96, 96))
        assert made.stages[0].steps == 5000
        assert gencore.recipe(system, data_shape=shape, network="dense").stages[0].steps == 10_000
    predicted = [gencore.recipe("ddpm", data_shape=(1, side, side)).config.prediction for side in (32, 64)]
    assert predicted == ["v", "x0"]
    noise = [gencore.recipe("edm", data_shape=(1, side, side)).config.p_mean for side in (32, 64)]
    assert noise == [-1.2, 0.3]
