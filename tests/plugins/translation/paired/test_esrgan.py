"""ESRGAN: the relativistic losses and the blocks by hand, interpolation, and checkpoints against spandrel's network."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

import gencore
from gencore.adversarial.losses import non_saturating
from gencore.cli.app import app
from gencore.errors import GencoreError
from gencore_translation.paired.esrgan import (
    ESRGAN,
    ESRGANConfig,
    interpolated,
    relativistic_critic_loss,
    relativistic_generator_loss,
)
from gencore_translation.parts.rrdb import RRDB, RRDBNet
from tests.plugins.translation.paired.esrgan_weights import SCALES, picture, weights

RECORDED = Path(__file__).with_name("esrgan_outputs.npz")


def small(seed: int = 0) -> ESRGAN:
    torch.manual_seed(seed)
    return ESRGAN(ESRGANConfig(width=4, growth=2, blocks=1, critic_width=4)).eval()


def test_relativistic_losses_against_their_equations() -> None:
    """With probabilities, as the paper writes them."""
    real, fake = torch.tensor([1.0, -0.5, 2.0]).double(), torch.tensor([0.3, 0.1, -1.5]).double()
    above, below = torch.sigmoid(real - fake.mean()), torch.sigmoid(fake - real.mean())
    critic = -above.log().mean() - (1 - below).log().mean()
    generator = -(1 - above).log().mean() - below.log().mean()
    torch.testing.assert_close(relativistic_critic_loss(real, fake), critic)
    torch.testing.assert_close(relativistic_generator_loss(real, fake), generator)


def test_relativistic_losses_compare_and_nothing_else() -> None:
    """2 log 2 for equal outputs; a constant added to all of them changes nothing, though it does in the plain game."""
    real, fake = torch.randn(5), torch.randn(5)
    for loss in (relativistic_critic_loss, relativistic_generator_loss):
        assert loss(torch.ones(3), torch.ones(4)).item() == pytest.approx(2 * math.log(2))
        torch.testing.assert_close(loss(real + 3, fake + 3), loss(real, fake), rtol=0, atol=1e-5)
    assert abs(non_saturating.critic(real + 3, fake + 3) - non_saturating.critic(real, fake)) > 0.1


def test_the_generator_learns_from_the_real_pictures_too() -> None:
    """Both halves reach it through the mean of D(G(c)): without the first its gradient is another."""
    real, fake = torch.tensor([2.0, 1.0]), torch.tensor([0.5, -1.0], requires_grad=True)
    (whole,) = torch.autograd.grad(relativistic_generator_loss(real, fake), fake)
    (half,) = torch.autograd.grad(F.softplus(-(fake - real.mean())).mean(), fake)
    share = torch.sigmoid(real - fake.detach().mean()).mean() / 2
    torch.testing.assert_close(whole - half, -share.expand(2))


def test_an_rrdb_whose_last_convolutions_are_zero_returns_one_and_a_fifth() -> None:
    block = RRDB(4, 2)
    with torch.no_grad():
        for dense in block.blocks:
            dense.layers[-1].weight.zero_()  # type: ignore[index, union-attr, operator]
            dense.layers[-1].bias.zero_()  # type: ignore[index, union-attr, operator]
    h = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(block(h), 1.2 * h)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 4)])
def test_any_size_is_enlarged(scale: int, size: tuple[int, int]) -> None:
    net = RRDBNet(3, scale=scale, width=4, growth=2, blocks=1, skip=True)
    assert net(torch.zeros(2, 3, *size)).shape == (2, 3, scale * size[0], scale * size[1])


def test_interpolation_ends_at_either_model_to_the_bit() -> None:
    first, second = small(0), small(1)
    for t, end in ((0.0, first), (1.0, second)):
        between = interpolated(first, second, t).state_dict()
        assert all(torch.equal(value, between[name]) for name, value in end.state_dict().items())
    middle = interpolated(first, second, 0.25).state_dict()
    for name, value in first.state_dict().items():
        torch.testing.assert_close(middle[name], 0.75 * value + 0.25 * second.state_dict()[name])
    with pytest.raises(GencoreError, match="t is"):
        interpolated(first, second, 1.5)
    with pytest.raises(GencoreError, match="configs differ"):
        interpolated(first, ESRGAN(ESRGANConfig(width=5)), 0.5)


@pytest.mark.parametrize("scale", SCALES)
def test_checkpoints_against_spandrel(scale: int) -> None:
    """Recorded by record_esrgan.py; pictures in [0, 1] there. Without a clip: the model's own comes after."""
    model = ESRGAN.from_published(weights(scale))
    assert (model.config.scale, model.config.blocks, model.config.growth) == (scale, 2, 32)
    with torch.no_grad():
        made = (model.generator(2 * picture() - 1) + 1) / 2
    expected = torch.from_numpy(np.load(RECORDED)[f"x{scale}"])
    assert expected.std() > 1e-2
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)


def first_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Under the names of the first ESRGAN's files."""
    pairs = (
        ("conv_body", "trunk_conv"),
        ("body.", "RRDB_trunk."),
        (".rdb", ".RDB"),
        ("conv_up", "upconv"),
        ("conv_hr", "HRconv"),
    )
    renamed = {}
    for key, tensor in tensors.items():
        for new, old in pairs:
            key = key.replace(new, old)
        renamed[key] = tensor
    return renamed


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_convert(tmp_path: Path, suffix: str) -> None:
    """Both kinds of files, wrapped as Real-ESRGAN's are, and the first names, give one model."""
    file = tmp_path / f"a{suffix}"
    if suffix == ".pth":
        torch.save({"params": weights(2), "params_ema": first_names(weights(4))}, file)
    else:
        save_file(weights(4), file)
    command = ["convert", str(file), "--as", "esrgan", "-o", str(tmp_path / "model")]
    assert CliRunner().invoke(app, command).exit_code == 0
    model = gencore.from_pretrained(tmp_path / "model")
    expected = ESRGAN.from_published(weights(4)).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert "exists already" in str(CliRunner().invoke(app, command).exception)


def test_convert_is_strict(tmp_path: Path) -> None:
    """A key too many, one too few, one of another shape, code in a pickle, another file: each is named."""
    good = weights(4)
    with pytest.raises(GencoreError, match="'conv_extra.weight'"):
        ESRGAN.from_published({**good, "conv_extra.weight": torch.zeros(1)})
    with pytest.raises(GencoreError, match=r"fine\.bias"):
        ESRGAN.from_published({key: tensor for key, tensor in good.items() if key != "conv_hr.bias"})
    with pytest.raises(GencoreError, match=r"fine\.weight"):
        ESRGAN.from_published({**good, "conv_hr.weight": torch.zeros(4, 8, 3, 3)})
    with pytest.raises(GencoreError, match="no whole RRDB network"):
        ESRGAN.from_published({"conv_hr.weight": good["conv_hr.weight"]})

    def refused(name: str, content: object, system: str = "esrgan") -> str:
        if content is not None:
            torch.save(content, tmp_path / name)
        words = ["convert", str(tmp_path / name), "--as", system, "-o", str(tmp_path / "out")]
        return str(CliRunner().invoke(app, words).exception)

    assert "holds more than tensors" in refused("code.pth", Path("a"))
    assert "no tensors by name" in refused("list.pth", [1, 2])
    assert "ends in '.bin'" in refused("a.bin", good)
    assert "does not exist" in refused("none.pth", None)
    assert "opens no checkpoints" in refused("a.pth", good, system="dcgan")
    assert not (tmp_path / "out").exists()
