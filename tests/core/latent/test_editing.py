"""Codes moved along a direction, and maps with pictures in place of dots."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from gencore.errors import GencoreError
from gencore.latent import axis, edit, pixels_of, scatter, thumbnails


class Identity(nn.Module):
    """Generates the code itself, and what it is told added to it."""

    device = torch.device("cpu")
    config = SimpleNamespace()

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return z if condition is None else z + condition[:, None]


def test_moved_by_amounts_along_a_direction() -> None:
    z, amounts = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([-1.0, 0.0, 2.0])
    made = edit(Identity(), z, axis(3, 1), amounts)
    assert made.tolist() == [[1, 1, 3], [1, 2, 3], [1, 4, 3]]
    told = edit(Identity(), z, axis(3, 1), amounts, condition=torch.tensor([10.0]))
    assert torch.equal(told, made + 10)
    blocks = edit(Identity(), z.view(1, 3), torch.ones(3), amounts)
    assert blocks.shape == (3, 1, 3)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(GencoreError, match="direction has 2"):
        edit(Identity(), torch.zeros(3), torch.zeros(2), torch.zeros(1))
    with pytest.raises(GencoreError, match="0 to 2"):
        axis(3, 3)


def test_pictures_lie_where_their_dots_do() -> None:
    places = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.01]])
    pixels = pixels_of(places, size=200)
    assert pixels[1].tolist() == [190, 10], "the second coordinate grows upwards"
    pictures = torch.tensor([-1.0, 0.0, -1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
    image = thumbnails(places, pictures, size=200, side=20)
    assert image.getpixel((10, 190)) == (0, 0, 0)
    assert image.getpixel((185, 10)) == (128, 128, 128)
    assert image.getpixel((100, 100)) == (255, 255, 255)
    dots = scatter(places, size=200)
    assert all(dots.getpixel((round(x), round(y))) != (255, 255, 255) for x, y in pixels.tolist())


def test_the_first_picture_is_not_hidden() -> None:
    places = torch.tensor([[0.0, 0.0], [0.001, 0.0], [1.0, 1.0]])
    shades = torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
    assert thumbnails(places, shades, size=200, side=20).getpixel((12, 188)) == (255, 255, 255)
    with pytest.raises(GencoreError, match="one each"):
        thumbnails(places, shades[:2])
