"""ID-CGAN: the pair that the critic sees, the difference that the network makes, the rain that is drawn."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore.data.toys.photos import photos
from gencore.errors import GencoreError
from gencore_translation.paired.id_cgan import IDCGAN, IDCGANConfig


def test_the_critic_sees_the_pair_and_the_game_reaches_the_generator() -> None:
    model = IDCGAN(IDCGANConfig(width=4, blocks=1, critic_width=4))
    first = model.critic[0]
    assert isinstance(first, torch.nn.Conv2d)
    assert first.in_channels == 6
    c, x = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(model.judge(x, condition=c), model.critic(torch.cat([c, x], 1)))
    with pytest.raises(GencoreError, match="condition is"):
        model.judge(x)
    objective = gencore.recipe("id-cgan", mse_weight=0.0, feature_weight=0.0).stages[0].objective
    objective.loss(model, "generator", {"x": x, "x_input": c}).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.generator.parameters())


def test_the_network_makes_the_difference() -> None:
    model = IDCGAN(IDCGANConfig(width=4, blocks=1))
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.zero_()
    x = torch.rand(2, 3, 11, 7) * 2 - 1
    assert torch.equal(model.translate(x), x)


def test_rain_is_drawn_on_pictures_alone() -> None:
    stage = gencore.recipe("id-cgan", density=0.03).stages[0]
    assert stage.data is not None
    view = stage.data(photos(50), None)
    batch = view.fetch(torch.arange(8))
    assert batch["x"].shape == batch["x_input"].shape == (8, 3, 24, 24)
    assert (batch["x_input"] >= batch["x"] - 1e-6).all()
    assert (batch["x_input"] - batch["x"]).max() > 0.2
    assert stage.data(view, None) is view


def test_the_weights_arrive() -> None:
    objective = gencore.recipe("id-cgan", mse_weight=2.0, feature_weight=0.3, game_weight=0.4).stages[0].objective
    assert objective.weights == {"mse": 2.0, "features": 0.3}
    assert objective.game_weight == 0.4
    assert objective.distances["features"].normalised
    assert objective.sees_input
