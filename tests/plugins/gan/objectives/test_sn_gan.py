"""SN-GAN: the critic's slope is bounded by its layers' norms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import gencore
from gencore.adversarial.losses import hinge
from gencore.adversarial.penalties import gradient_norms
from gencore_gan.objectives.sn_gan import SNGAN, SNGANConfig, iterate_critic
from gencore_gan.parts.spectral import SpectralConv2d, SpectralLinear, spectrally_normalised


def weights(model: SNGAN) -> list[tuple[torch.Tensor, torch.Tensor]]:
    kinds = SpectralConv2d | SpectralLinear
    return [(layer.weight, layer.u) for layer in model.critic if isinstance(layer, kinds)]


def lipschitz_bound(model: SNGAN) -> float:
    """The product of the layers' norms: the matrix's for a linear layer; for a convolution the matrix's times 3 for
    kernels of 3 x 3 and stride 1, and 2 for 4 x 4 and stride 2, the square root of how many places see a pixel."""
    bound = 1.0
    for weight, u in weights(model):
        overlap = {1: 1.0, 3: 3.0, 4: 2.0}[weight.shape[-1] if weight.ndim == 4 else 1]
        bound *= overlap * torch.linalg.matrix_norm(spectrally_normalised(weight, u).flatten(1), 2).item()
    return bound


def test_every_weight_of_the_critic_is_normalised() -> None:
    model = SNGAN(SNGANConfig(width=4))
    own = [layer for layer in model.critic.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(own) == len(weights(model)) == 3
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.critic.modules())


def test_scaling_the_weights_changes_nothing() -> None:
    torch.manual_seed(0)
    model, x = SNGAN(SNGANConfig(width=4)), torch.randn(3, 1, 8, 8)
    for weight, _ in weights(model):
        nn.init.normal_(weight)
    before = model.judge(x)
    with torch.no_grad():
        for weight, _ in weights(model):
            weight.mul_(7.0)
    torch.testing.assert_close(model.judge(x), before, rtol=1e-4, atol=1e-5)


def test_the_slope_is_bounded() -> None:
    torch.manual_seed(0)
    model = SNGAN(SNGANConfig(width=4))
    for weight, _ in weights(model):
        nn.init.normal_(weight, std=3.0)
    for _ in range(50):
        iterate_critic(model)
    assert lipschitz_bound(model) == pytest.approx(6, rel=0.01)
    assert gradient_norms(model.judge, torch.randn(64, 1, 8, 8)).max().item() <= lipschitz_bound(model)


def test_the_vectors_follow_the_critics_steps_alone() -> None:
    recipe = gencore.recipe("sn-gan", width=4)
    objective, model = recipe.stages[0].objective, SNGAN(recipe.config)
    assert objective.losses is hinge
    vectors = [u for _, u in weights(model) if len(u) > 1]
    before = [u.clone() for u in vectors]
    objective.after_step(model, "generator", [])
    assert all(map(torch.equal, vectors, before))
    objective.after_step(model, "critic", [])
    assert not any(map(torch.equal, vectors, before))


@pytest.mark.parametrize(("name", "value"), [("data_shape", (1, 12, 12)), ("latent_dim", 0), ("width", 0)])
def test_bad_arguments(name: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=name):
        gencore.recipe("sn-gan", **{name: value})
