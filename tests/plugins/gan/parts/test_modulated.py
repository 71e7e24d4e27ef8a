"""Modulated convolutions against the paper's loop over examples, and StyleGAN2's networks by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, leaky_relu

from gencore_gan.parts.modulated import ActivatedConv2d, ModulatedConv2d, StyledConvolution, blur, demodulation
from gencore_gan.parts.modulated_networks import ResidualDown, SkipSynthesis, noise_sides, residual_critic
from gencore_kernels import downsample2d, setup_filter, upfirdn2d, upsample2d


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def paper_weight(weight: Tensor, style: Tensor) -> Tensor:
    """Equations 1 and 3 for one example, weight (outputs, inputs, h, w) and style (inputs,)."""
    modulated = style[None, :, None, None] * weight
    return modulated / (modulated.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()


def test_filter() -> None:
    torch.testing.assert_close(blur(), setup_filter((1, 3, 3, 1)))


def test_demodulated_weights_have_unit_norm() -> None:
    weight, style = torch.randn(5, 3, 3, 3).double(), torch.randn(4, 3).double()
    factors = demodulation(weight, style)
    assert factors.shape == (4, 5)
    whole = weight * style[:, None, :, None, None] * factors[:, :, None, None, None]
    torch.testing.assert_close(whole.square().sum((2, 3, 4)), torch.ones(4, 5).double())


def test_modulation_is_the_papers_loop() -> None:
    layer = ModulatedConv2d(3, 5, 3, 4).double()
    x, w = torch.randn(4, 3, 6, 6).double(), torch.randn(4, 4).double()
    styles, weight = layer.style(w), layer.weight / math.sqrt(27)
    expected = [conv2d(x[i : i + 1], paper_weight(weight, styles[i]), padding=1) for i in range(4)]
    torch.testing.assert_close(layer(x, w), torch.cat(expected))


def test_modulation_upwards_is_the_papers_loop() -> None:
    """Zeros between the pixels, the transposed convolution as a plain one, the filter."""
    layer = ModulatedConv2d(3, 5, 3, 4, up=True).double()
    x, w = torch.randn(4, 3, 6, 6).double(), torch.randn(4, 4).double()
    spread = torch.zeros(4, 3, 12, 12).double()
    spread[:, :, ::2, ::2] = x
    styles, weight = layer.style(w), layer.weight / math.sqrt(27)
    wide = nn.functional.pad(spread, (2, 2, 2, 2))[:, :, :-1, :-1]
    larger = [conv2d(wide[i : i + 1], paper_weight(weight, styles[i]).flip(2, 3)) for i in range(4)]
    expected = upfirdn2d(torch.cat(larger), layer.filter, padding=1, gain=4.0)
    assert layer(x, w).shape == (4, 5, 12, 12)
    torch.testing.assert_close(layer(x, w), expected)


def test_modulation_upwards_keeps_places() -> None:
    """With one weight in the middle of its kernel it enlarges as `upsample2d` does."""
    layer = ModulatedConv2d(1, 1, 3, 4, up=True)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 1, 1] = 2.0
    x = torch.randn(2, 1, 6, 6)
    torch.testing.assert_close(layer.convolve(x, torch.ones(2, 1)), upsample2d(x, layer.filter), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("up", [False, True])
def test_a_styles_size_does_not_matter(up: bool) -> None:
    layer = ModulatedConv2d(3, 5, 3, 4, up=up).double()
    x, style = torch.randn(4, 3, 6, 6).double(), torch.randn(4, 3).double()
    torch.testing.assert_close(layer.convolve(x, 7 * style), layer.convolve(x, style), rtol=1e-5, atol=1e-7)
    plain = ModulatedConv2d(3, 5, 1, 4, demodulate=False).double()
    torch.testing.assert_close(plain.convolve(x, 7 * style), 7 * plain.convolve(x, style))


def test_demodulation_keeps_the_mean_square() -> None:
    x = torch.randn(8, 32, 16, 16)
    layer = ModulatedConv2d(32, 64, 3, 4)
    assert 0.85 < layer.convolve(x, 5 * torch.rand(8, 32)).square().mean() < 1.05  # less at the borders


def test_styled_convolution() -> None:
    """Noise times one number, bias, LeakyReLU times sqrt(2), in this order."""
    layer, x, w, noise = StyledConvolution(3, 5, 4), torch.randn(2, 3, 6, 6), torch.randn(2, 4), torch.randn(2, 1, 6, 6)
    plain = layer.convolution(x, w)
    torch.testing.assert_close(layer(x, w, noise), 2**0.5 * leaky_relu(plain, 0.2))
    with torch.no_grad():
        layer.noise.scale.fill_(0.5)
        layer.bias.copy_(torch.arange(5.0))
    u = plain + 0.5 * noise + torch.arange(5.0)[:, None, None]
    torch.testing.assert_close(layer(x, w, noise), 2**0.5 * leaky_relu(u, 0.2))


def test_synthesis_sums_the_images_of_all_levels() -> None:
    """Each is enlarged to the full size; level l has style 2 l + 1."""
    synthesis = SkipSynthesis((6, 4, 3), 2, 5)
    styles, noise = torch.randn(2, 6, 5), torch.zeros(2, sum(side**2 for side in synthesis.sides))
    found: list[Tensor] = []
    for to_image in synthesis.to_image:
        to_image.register_forward_hook(lambda module, inputs, output: found.append(output))
    whole = synthesis(styles, noise)
    small, middle, large = found
    assert [image.shape[-1] for image in found] == [4, 8, 16]
    up = upsample2d(upsample2d(small, blur()), blur()) + upsample2d(middle, blur()) + large
    torch.testing.assert_close(whole, up)


def test_which_layer_has_which_style() -> None:
    """A change of style p reaches the convolutions and images that come after it, and those alone."""
    synthesis, seen = SkipSynthesis((6, 4), 2, 5), {}
    for name, module in synthesis.named_modules():
        if name.endswith(".convolution"):
            module.register_forward_pre_hook(lambda m, inputs, name=name: seen.update({name: inputs[1]}))
    styles = torch.randn(2, 4, 5)
    synthesis(styles, torch.zeros(2, 16 + 64 + 64))
    places = {"layers.0": 0, "to_image.0": 1, "layers.1": 1, "layers.2": 2, "to_image.1": 3}
    assert seen.keys() == {f"{name}.convolution" for name in places}
    for name, place in places.items():
        assert torch.equal(seen[f"{name}.convolution"], styles[:, place])
    assert noise_sides(3) == (4, 8, 8, 16, 16)


def test_convolution_downwards_keeps_places() -> None:
    layer = ActivatedConv2d(1, 1, 3, down=True)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 1, 1] = 3.0
        layer.bias.fill_(0.5)
    x = torch.randn(2, 1, 8, 8)
    small = downsample2d(x, blur()) + 0.5
    torch.testing.assert_close(layer(x), 2**0.5 * leaky_relu(small, 0.2))


def test_residual_block_is_divided_by_root_two() -> None:
    block, x = ResidualDown(3, 4), torch.randn(2, 3, 8, 8)
    expected = (block.main(x) + conv2d(downsample2d(x, blur()), block.skip.weight / 3**0.5)) * 0.5**0.5
    torch.testing.assert_close(block(x), expected)
    wide, x = ResidualDown(64, 64), torch.randn(4, 64, 16, 16)
    with torch.no_grad():
        smooth = interpolate(x, scale_factor=8, mode="bilinear")  # so smooth that the filter takes nothing
        ratio = wide(smooth).square().mean() / smooth.square().mean()
    assert 0.6 < ratio < 1.6


def test_critic() -> None:
    assert residual_critic((6, 4, 3), 2)(torch.randn(4, 2, 16, 16)).shape == (4, 1)
