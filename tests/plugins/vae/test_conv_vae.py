"""The convolutional VAE: what it refuses, and real digits beside the linear model."""

from __future__ import annotations

import pytest

import gencore
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vae.vae_digits import grey, mean_bound, principal_components, train


@pytest.mark.parametrize(("argument", "value"), [("data_shape", (1, 28, 28)), ("data_shape", (64,))])
def test_bad_arguments(argument: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=argument):
        gencore.recipe("conv-vae", **{argument: value})


@pytest.mark.behaviour
def test_gaussian_vaes_beat_the_linear_model(measured) -> None:
    """The same 8 latents and the same noise: PPCA, which is the twin without hidden layers, -30.7, conv-vae -26.8."""
    std, linear = principal_components(8)
    model = train(gencore.recipe("conv-vae", steps=1500, latent_dim=8, decoder_std=std, width=16), grey("train"))
    draws_nearer(model, grey("test"))
    measured(
        "conv-vae",
        "bound at k = 50 on held-out digits, nats; twin: probabilistic PCA",
        figure=mean_bound(model, grey("test"), 50),
        twin=linear,
        bar=linear + 2,
        better="higher",
    )
