"""The VAE of binary images: what it refuses, and real digits beside independent pixels."""

from __future__ import annotations

import math

import pytest
import torch

import gencore
from gencore.nn.likelihood import PROBABILITY, bits_per_dim
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vae.vae_digits import bernoulli_vae, binary, independent_pixels, mean_bound
from tests.plugins.vae.vae_models import DOTS

pytestmark = pytest.mark.xdist_group("bernoulli-vae")  # its tests share what they train


def test_bits_per_dim_of_a_bound() -> None:
    model = gencore.create("bernoulli-vae", data_shape=(1, 4, 4), hidden=(8,)).eval()
    bits = bits_per_dim(model.bound(DOTS), 16, model.likelihood_scale)
    assert model.likelihood_scale == PROBABILITY
    torch.testing.assert_close(bits, -model.bound(DOTS) / (16 * math.log(2)))


def test_grey_images_have_no_bernoulli_likelihood() -> None:
    model = gencore.create("bernoulli-vae", data_shape=(1, 4, 4), hidden=(8,))
    with pytest.raises(gencore.GencoreError, match="binarize"):
        model.bound(DOTS * 0.5)


@pytest.mark.parametrize(("argument", "value"), [("binarization", "static")])
def test_bad_arguments(argument: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=argument):
        gencore.recipe("bernoulli-vae", **{argument: value})


@pytest.mark.behaviour
def test_bernoulli_vae_beats_independent_pixels(measured) -> None:
    """-18.1 at k = 1 and -17.2 at k = 50, with a KL of 6.4 and all 8 latents in use. Twin: untrained."""
    model, x = bernoulli_vae(), binary("test")
    assert independent_pixels() == pytest.approx(-24.46, abs=0.05)
    assert mean_bound(model, x, 50) > mean_bound(model, x, 1) + 0.3
    with torch.no_grad():
        posterior = model.encode(x)
    assert posterior.kl_to_standard_normal().mean() > 4
    assert (posterior.mean.std(0) > 0.1).sum() >= 6
    untrained = mean_bound(gencore.create("bernoulli-vae").eval(), x, 1)
    assert untrained < -40
    draws_nearer(model, x)
    measured(
        "bernoulli-vae",
        "bound on held-out binary digits, nats",
        figure=mean_bound(model, x, 1),
        twin=untrained,
        bar=-20,
        better="higher",
    )
