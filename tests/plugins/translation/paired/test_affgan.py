"""AffGAN: the projection is exact for any network; trained by a critic alone it is sharp, and consistent."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import gencore
from gencore.adversarial.losses import logistic_critic_loss
from gencore.data.toys.degradations import bicubic_matrix, downsample
from gencore_translation.paired.affgan import AffGAN, AffGANConfig, enlarged, projected, pseudo_inverse


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_pseudo_inverse_is_numpys(scale: int) -> None:
    shrink = bicubic_matrix(7 * scale, scale)
    torch.testing.assert_close(pseudo_inverse(7, scale), torch.linalg.pinv(shrink), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 4])
def test_whatever_the_network_makes_shrinks_to_the_given_picture(scale: int) -> None:
    """For random weights, ten times too large; the projection does nothing to what is projected already."""
    torch.manual_seed(0)
    model = AffGAN(AffGANConfig(scale=scale, width=4, blocks=1))
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.mul_(10)
        y = torch.rand(2, 3, 9, 6) * 2 - 1
        made = model.translate(y)
    size = made.abs().max()
    assert (downsample(made, scale) - y).abs().max() < 1e-5 * size
    assert (projected(made, y, scale) - made).abs().max() < 1e-5 * size
    assert (downsample(enlarged(y, scale), scale) - y).abs().max() < 1e-5


def test_the_projection_is_the_nearest_picture() -> None:
    """What it changes is orthogonal to every picture that shrinks to nothing."""
    f, y, other = (torch.randn(1, 1, n, n, dtype=torch.float64) for n in (12, 6, 12))
    moved = projected(f, y, 2) - f
    null = projected(other, torch.zeros(1, 1, 6, 6, dtype=torch.float64), 2)
    assert null.abs().max() > 0.1
    assert abs(float((moved * null).sum())) < 1e-10


def test_the_generators_loss_is_minus_the_logit() -> None:
    """log((1 - p) / p), whose gradient does not fade; and no term for pixels."""
    losses = gencore.recipe("affgan").stages[1].objective
    logits = torch.randn(6)
    p = torch.sigmoid(logits)
    torch.testing.assert_close(losses.losses.generator(logits), ((1 - p) / p).log().mean())  # type: ignore[union-attr]
    assert losses.losses.critic is logistic_critic_loss  # type: ignore[union-attr]
    assert losses.weights == {}


def test_sizes_are_those_of_the_scale() -> None:
    model = AffGAN(AffGANConfig(scale=3, width=4, blocks=1))
    assert isinstance(model.generator.network, nn.Module)
    assert model.translate(torch.zeros(1, 3, 7, 5)).shape == (1, 3, 21, 15)
    assert model.translate(torch.zeros(1, 3, 2, 1)).shape == (1, 3, 6, 3)
