"""GP-GAN: the solver against its equations and scipy, the pasted pairs, the critic's clipping, blended pictures."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import torch

import gencore
from gencore.data.toys.photos import photos
from gencore.errors import GencoreError
from gencore_translation.paired.gp_gan import (
    GPGAN,
    GPGANConfig,
    blended_gradients,
    composite,
    pasted,
    pasted_view,
    sizes,
    taken_apart,
)
from gencore_translation.parts.gaussian_poisson import (
    dct_2d,
    gaussian,
    gradients,
    inverse_dct_2d,
    minus_divergence,
    solve,
)

SHAPE = (2, 3, 24, 20)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def test_dct_against_scipy() -> None:
    x = draw(*SHAPE)
    expected = torch.from_numpy(scipy.fft.dctn(x.numpy(), axes=(-2, -1))) / 4
    torch.testing.assert_close(dct_2d(x), expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(inverse_dct_2d(dct_2d(x)), x, rtol=0, atol=1e-13)


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_the_gaussian_against_scipys(sigma: float) -> None:
    """Mirrored with the edge repeated: scipy's "reflect"."""
    x = draw(24, 20)
    blurred = scipy.ndimage.gaussian_filter(x.numpy(), sigma, mode="reflect", radius=int(np.ceil(4 * sigma)))
    made = inverse_dct_2d(gaussian(24, sigma)[:, None] * gaussian(20, sigma) * dct_2d(x))
    torch.testing.assert_close(made, torch.from_numpy(blurred), rtol=0, atol=1e-12)


def test_the_divergence_is_the_transpose_of_the_gradients() -> None:
    x, down, across = draw(*SHAPE), draw(*SHAPE), draw(*SHAPE)
    grad_down, grad_across = gradients(x)
    left = (grad_down * down).sum() + (grad_across * across).sum()
    torch.testing.assert_close(left, (x * minus_divergence(down, across)).sum())


def test_the_solution_is_where_the_energy_is_least() -> None:
    """The gradient of |grad x - v|^2 + beta |g * (x - low)|^2 vanishes there, on random fields."""
    down, across, low, beta, sigma = draw(*SHAPE), draw(*SHAPE), draw(*SHAPE), 0.7, 0.9
    down[..., -1, :], across[..., -1] = 0, 0
    x = solve(down, across, low, beta=beta, sigma=sigma).requires_grad_()
    blur = gaussian(24, sigma)[:, None] * gaussian(20, sigma)
    made_down, made_across = gradients(x)
    smooth = inverse_dct_2d(blur * dct_2d(x - low))
    energy = (made_down - down).square().sum() + (made_across - across).square().sum() + beta * smooth.square().sum()
    energy.backward()
    assert x.grad is not None
    assert x.grad.abs().max() < 1e-11
    assert energy > 1


def test_true_gradients_and_colours_return_the_picture() -> None:
    x = draw(*SHAPE)
    for beta in (0.1, 1.0):
        torch.testing.assert_close(solve(*gradients(x), x, beta=beta, sigma=0.5), x, rtol=0, atol=1e-12)


def test_gradients_across_the_masks_border_are_the_backgrounds() -> None:
    source, background = torch.arange(5.0).view(1, 1, 1, 5), 10 * torch.arange(5.0).view(1, 1, 1, 5)
    mask = torch.tensor([0.0, 1, 1, 0, 0]).view(1, 1, 1, 5)
    assert blended_gradients(source, background, mask)[1].flatten().tolist() == [10, 1, 10, 10, 0]


def test_pasted_pairs() -> None:
    x, index = torch.rand(3, 3, 16, 16) * 2 - 1, torch.tensor([4, 5, 6])
    source, background, mask = taken_apart(pasted(x, 1, index))
    assert torch.equal(background, x)
    assert sorted(mask.unique().tolist()) == [0, 1]
    assert mask.sum((1, 2, 3)).tolist() == [64, 64, 64]
    changed = composite(source, background, mask)
    assert torch.equal(changed * (1 - mask), x * (1 - mask))
    assert (changed - x).abs().mean() > 0.02
    torch.testing.assert_close(pasted(x[1:2], 1, index[1:2]), pasted(x, 1, index)[1:2])
    assert not torch.equal(pasted(x[1:2], 2, index[1:2]), pasted(x, 1, index)[1:2])


def test_levels() -> None:
    assert sizes(torch.zeros(1, 1, 100, 65), 32) == [(50, 32), (100, 65)]
    assert sizes(torch.zeros(1, 1, 20, 90), 32) == [(20, 90)]


def test_the_critic_is_clipped_and_pairs_are_refused() -> None:
    made = gencore.recipe("gp-gan", clip=0.02)
    model = GPGAN(GPGANConfig(width=4, bottleneck=4, critic_width=4))
    with torch.no_grad():
        made.stages[0].objective.after_step(model, "generator", [])
        assert max(p.abs().max() for p in model.critic.parameters()) > 0.02
        made.stages[0].objective.after_step(model, "critic", [])
    assert max(p.abs().max() for p in model.critic.parameters()) <= 0.02
    assert max(p.abs().max() for p in model.generator.parameters()) > 0.02
    paired = pasted_view(photos(4, size=8), None)
    with pytest.raises(GencoreError, match="inputs of its own"):
        pasted_view(paired, None)
    with pytest.raises(GencoreError, match="5 channels"):
        model.translate(torch.zeros(1, 5, 8, 8))


class Truth(torch.nn.Module):
    """In the place of the encoder-decoder: the true colours, at its size."""

    def __init__(self, picture: torch.Tensor) -> None:
        super().__init__()
        self.picture = picture

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(self.picture, size=(32, 32), mode="bicubic", antialias=True)


@pytest.mark.parametrize("size", [(32, 32), (70, 96)])
def test_with_true_colours_the_seam_is_gone(size: tuple[int, int]) -> None:
    """A piece of a smooth picture, brightened, is blended back: its jump at the border shrinks to a tenth, where
    copying and pasting keeps all of it."""
    down, across = torch.meshgrid(torch.linspace(0, 3, size[0]), torch.linspace(0, 4, size[1]), indexing="ij")
    picture = (0.5 * (down + 0.3).sin() * across.cos())[None, None].expand(1, 3, -1, -1)
    mask = torch.zeros(1, 1, *size)
    mask[..., 10:24, 8:20] = 1
    model = GPGAN(GPGANConfig(width=4, bottleneck=4))
    model.generator = Truth(picture)  # type: ignore[assignment]
    source = picture + 0.4
    made = model.blend(source, picture, mask)
    assert made.shape == picture.shape

    def jump(x: torch.Tensor) -> float:
        wrong = x - picture
        return float((wrong[..., 10:24, 8] - wrong[..., 10:24, 7]).abs().mean())

    assert jump(composite(source, picture, mask)) == pytest.approx(0.4, abs=1e-5)
    assert jump(made) < 0.04
    assert (made - picture).abs().max() < 0.1
    torch.testing.assert_close(model.blend(picture, picture, mask), picture, rtol=0, atol=2e-2)
