"""PixelCNN: its blind spot, and better than a histogram a pixel. See test_densities.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gencore.nn.masked import MaskedConv2d
from gencore_autoregressive.parts.raster import RasterNetwork
from gencore_autoregressive.pixelcnn import MaskedBlock
from tests.plugins.autoregressive.densities import digits, independent, nats, trained
from tests.plugins.autoregressive.sight import missed
from tests.plugins.default_sampler import draws_nearer


def plain(first: int, layers: int) -> nn.Sequential:
    """Masked convolutions alone, 3 x 3 after the first."""
    others = (MaskedConv2d("B", 4, 4, 3) for _ in range(layers - 1))
    return nn.Sequential(MaskedConv2d("A", 2, 4, first), *others).double()


def test_the_blind_spot() -> None:
    """Of 11 x 11 pixels at (8, 5), 14 layers: 10 to the right above are missed, 3 with a first layer of 7 x 7 (figure 1
    of arXiv:1606.05328)."""
    assert missed(plain(3, 14), 11, (8, 5)) == 10
    assert missed(plain(7, 14), 11, (8, 5)) == 3


def test_the_page_has_the_blind_spot_of_its_kernels() -> None:
    torch.manual_seed(1)
    network = RasterNetwork(2, 2, width=8, layers=14, layer=MaskedBlock, colours=2).double()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.rand_like(parameter)  # ReLUs that are open
    assert missed(lambda x: network(x)[:, :1], 11, (8, 5)) == 3  # the first channel: the second sees it


@pytest.mark.behaviour
def test_pixelcnn_beats_independent_pixels(measured: Any) -> None:
    """Binarised digits: 19.46 nats of 24.91 for a histogram a pixel; untrained 43.73."""
    (x, _), (y, _) = digits("train"), digits("test")
    arguments: dict[str, Any] = {"levels": 2, "rounding": "nearest", "width": 24, "layers": 3, "learning_rate": 4e-3}
    page = trained("pixelcnn", x, steps=150, seed=0, **arguments)
    draws_nearer(page, y)
    figure = nats(page, y)
    twin = independent(x, y, 2, "nearest")
    measured("pixelcnn", "nats of a binarised digit", figure=figure, twin=twin, bar=20.5, better="lower", seed=0)
