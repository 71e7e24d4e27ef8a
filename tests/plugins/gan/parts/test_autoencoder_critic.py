"""The autoencoder that is a critic: shapes, ranges, refusals."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore_gan.objectives.ebgan import EBGAN
from gencore_gan.parts.autoencoder_critic import AutoencoderGANConfig


def test_shapes_and_ranges() -> None:
    torch.manual_seed(0)
    model = EBGAN(AutoencoderGANConfig(data_shape=(3, 16, 16), latent_dim=5, code_dim=7, width=4))
    x = 5 * torch.randn(2, 3, 16, 16)
    assert model.critic.encoder(x).shape == (2, 7)
    assert model.reconstruct(x).shape == x.shape
    for image in (model.reconstruct(x), model.generate(100 * torch.randn(2, 5))):
        assert image.abs().max() <= 1
    assert torch.equal(model.reconstruct(x), model.critic.decoder(model.critic.encoder(x)))


def test_the_prior_is_uniform() -> None:
    from gencore.noise import GlobalNoise

    torch.manual_seed(0)
    z = EBGAN(AutoencoderGANConfig()).draw_prior(GlobalNoise(1000))
    assert z.shape == (1000, 16)
    assert -1 <= z.min() < -0.99 < 0.99 < z.max() <= 1
    assert z.var().item() == pytest.approx(1 / 3, rel=0.03)


@pytest.mark.parametrize("system", ["ebgan", "began"])
@pytest.mark.parametrize(("name", "value"), [("data_shape", (1, 12, 12)), ("data_shape", (0, 8, 8)), ("code_dim", 0)])
def test_bad_arguments(system: str, name: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=name):
        gencore.recipe(system, **{name: value})
