"""Checkpoints of pytorch-CycleGAN-and-pix2pix: its residual generator, written down here from its published layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import gencore
from gencore.cli.app import app
from gencore.errors import GencoreError
from gencore_translation.parts.domains import TwoTranslators


class Block(nn.Module):
    """x + conv_block(x)."""

    def __init__(self, channels: int, norm: type[nn.Module], dropout: bool) -> None:
        super().__init__()
        bias = norm is nn.InstanceNorm2d
        layers = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm(channels), nn.ReLU()]
        layers += [nn.Dropout(0.5)] if dropout else []
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm(channels)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Published(nn.Module):
    """netG of `blocks` blocks, width 4, 3 channels on both sides: `resnet_9blocks` is its 9 at width 64."""

    def __init__(self, norm: type[nn.Module], blocks: int, dropout: bool) -> None:
        super().__init__()
        bias = norm is nn.InstanceNorm2d
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, 4, 7, bias=bias), norm(4), nn.ReLU()]
        for width in (4, 8):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1, bias=bias), norm(2 * width), nn.ReLU()]
        layers += [Block(16, norm, dropout) for _ in range(blocks)]
        for width in (16, 8):
            layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1, bias=bias), norm(width // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(4, 3, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def published(norm: type[nn.Module] = nn.InstanceNorm2d, blocks: int = 9, dropout: bool = False) -> Published:
    torch.manual_seed(0)
    net = Published(norm, blocks, dropout)
    with torch.no_grad():
        for _ in range(3):  # so that the running statistics are of something
            net(torch.randn(2, 3, 16, 16))
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval()


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("norm", [nn.InstanceNorm2d, nn.BatchNorm2d])
def test_the_published_networks_pictures(norm: type[nn.Module], dropout: bool) -> None:
    net = published(norm, dropout=dropout)
    model = TwoTranslators.from_published(net.state_dict())
    assert (model.config.blocks, model.config.width, model.config.halvings) == (9, 4, 2)
    x = torch.rand(2, 3, 24, 32) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(model.translate(x), net(x), rtol=1e-4, atol=1e-5)
        assert (net(x) - net(-x)).abs().max() > 0.01


def test_statistics_of_old_files_are_left_out() -> None:
    """torch before 0.4 kept them for instance normalisation, which does not use them."""
    net, x = published(blocks=1), torch.rand(1, 3, 16, 16)
    old = {**net.state_dict(), "model.2.running_mean": torch.ones(4), "model.10.conv_block.2.running_var": x[0, 0, 0]}
    with torch.no_grad():
        torch.testing.assert_close(TwoTranslators.from_published(old).translate(x), net(x), rtol=1e-4, atol=1e-5)


def test_convert_and_its_strictness(tmp_path: Path) -> None:
    state = published(blocks=6).state_dict()
    torch.save(state, tmp_path / "latest_net_G_A.pth")
    words = ["convert", str(tmp_path / "latest_net_G_A.pth"), "--as", "cyclegan", "-o", str(tmp_path / "model")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    x = torch.rand(1, 3, 16, 16)
    model: Any = gencore.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(model.translate(x), TwoTranslators.from_published(state).translate(x), rtol=0, atol=0)
    with pytest.raises(GencoreError, match="one_way"):
        model.translate(x, to="a")
    with pytest.raises(GencoreError, match=r"model\.extra"):
        TwoTranslators.from_published({**state, "model.extra": x})
    for missing, message in (("model.1.weight", "lacks 'model.1.weight'"), ("model.4.weight", "does not fit")):
        with pytest.raises(GencoreError, match=message):
            TwoTranslators.from_published({key: value for key, value in state.items() if key != missing})
    with pytest.raises(GencoreError, match="does not fit"):
        TwoTranslators.from_published({**state, "model.30.weight": x})


def test_one_way_does_not_train() -> None:
    with pytest.raises(GencoreError, match="one_way"):
        gencore.recipe("cyclegan", one_way=True, width=4, critic_width=4).stages[0].objective.loss(
            gencore.create("cyclegan", one_way=True, width=4, critic_width=4),
            "translators",
            {"x": torch.zeros(1, 1, 8, 8), "x_b": torch.zeros(1, 1, 8, 8)},
        )
