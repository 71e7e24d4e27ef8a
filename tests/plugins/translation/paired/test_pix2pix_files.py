"""Checkpoints of pytorch-CycleGAN-and-pix2pix: its U-Net, written down here from its published architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import gencore
from gencore.cli.app import app
from gencore.errors import GencoreError
from gencore_translation.paired.pix2pix import Pix2Pix


class Level(nn.Module):
    """One level around the next inner one; the outermost returns a picture, the others join their input."""

    def __init__(self, outer: int, inner: int, inside: nn.Module | None, norm: type[nn.Module], given: int = 0) -> None:
        super().__init__()
        bias, self.outermost = norm is nn.InstanceNorm2d, bool(given)
        down = nn.Conv2d(given or outer, inner, 4, 2, 1, bias=bias)
        if given:
            layers = [down, inside, nn.ReLU(), nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1), nn.Tanh()]
        elif inside is None:
            up = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias)
            layers = [nn.LeakyReLU(0.2), down, nn.ReLU(), up, norm(outer)]
        else:
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=bias)
            layers = [nn.LeakyReLU(0.2), down, norm(inner), inside, nn.ReLU(), up, norm(outer)]
        self.model = nn.Sequential(*(layer for layer in layers if layer is not None))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class Published(nn.Module):
    """`unet_32` of width 4: 5 levels of 4, 8, 16, 32, 32 channels, from 1 channel to 3."""

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        level = Level(32, 32, None, norm)
        for outer in (16, 8, 4):
            level = Level(outer, 2 * outer, level, norm)
        self.model = Level(3, 4, level, norm, given=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def published(norm: type[nn.Module]) -> Published:
    torch.manual_seed(0)
    net = Published(norm)
    with torch.no_grad():
        for _ in range(3):  # so that the running statistics are of something
            net(torch.randn(4, 1, 32, 32))
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval()


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_the_published_networks_pictures(norm: type[nn.Module]) -> None:
    net = published(norm)
    model = Pix2Pix.from_published(net.state_dict())
    assert (model.config.depth, model.config.width, model.config.input_shape[0]) == (5, 4, 1)
    for size in ((64, 96), (32, 32)):  # the second is the size of its training, one place at the innermost level
        x = torch.rand(2, 1, *size) * 2 - 1
        with torch.no_grad():
            torch.testing.assert_close(model.translate(x), net(x), rtol=1e-4, atol=1e-5)
            assert (net(x) - net(-x)).abs().max() > 0.01


def test_convert_and_its_strictness(tmp_path: Path) -> None:
    state = published(nn.BatchNorm2d).state_dict()
    torch.save(state, tmp_path / "latest_net_G.pth")
    words = ["convert", str(tmp_path / "latest_net_G.pth"), "--as", "pix2pix", "-o", str(tmp_path / "model")]
    assert CliRunner().invoke(app, words).exit_code == 0
    x = torch.rand(1, 1, 32, 32)
    model: object = gencore.from_pretrained(tmp_path / "model")
    assert isinstance(model, Pix2Pix)
    torch.testing.assert_close(model.translate(x), Pix2Pix.from_published(state).translate(x), rtol=0, atol=0)
    with pytest.raises(GencoreError, match=r"model\.extra"):
        Pix2Pix.from_published({**state, "model.extra": x})
    missing = "model.model.1.model.3.model.2.running_var"
    with pytest.raises(GencoreError, match="lacks 'model.model.1.model.3.model.2.running_var'"):
        Pix2Pix.from_published({key: value for key, value in state.items() if key != missing})
    with pytest.raises(GencoreError, match="does not fit"):
        Pix2Pix.from_published({**state, "model.model.3.weight": torch.zeros(5, 3, 4, 4)})
