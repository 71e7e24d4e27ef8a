from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from gencore.data.toys.degradations import (
    bicubic_matrix,
    downsample,
    erase,
    gaussian_blur,
    grey,
    jpeg,
    mask_centre,
    mask_free_form,
    mask_random,
    noise,
    rain,
)

INDEX = torch.arange(6)


def pictures(count: int = 6, channels: int = 3, size: int = 24) -> torch.Tensor:
    x = torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x * 2 - 1


def test_bicubic_row_by_hand() -> None:
    """At factor 2 the taps lie 1/4, 3/4, 5/4, 7/4 kernel widths off; k(t) in 128ths is 111, 29, -9, -3; / 2."""
    row = bicubic_matrix(24, 2)[5]
    expected = torch.zeros(24, dtype=torch.float64)
    expected[7:15] = torch.tensor([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    torch.testing.assert_close(row, expected, rtol=0, atol=1e-15)


def test_bicubic_border_mirrors_with_the_edge_repeated() -> None:
    """Row 0 takes pixels -3 ... 4; pixels -1, -2, -3 are 0, 1, 2."""
    row = bicubic_matrix(24, 2)[0]
    expected = torch.zeros(24, dtype=torch.float64)
    expected[:5] = torch.tensor([111 + 29, 111 - 9, 29 - 3, -9, -3]) / 256
    torch.testing.assert_close(row, expected, rtol=0, atol=1e-15)
    torch.testing.assert_close(bicubic_matrix(24, 2)[-1], row.flip(0), rtol=0, atol=1e-15)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_bicubic_agrees_with_torch_inside(factor: int) -> None:
    x = pictures()
    ours = downsample(x, factor)
    theirs = F.interpolate(x, scale_factor=1 / factor, mode="bicubic", antialias=True)
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(ours[inner], theirs[inner], rtol=0, atol=1e-14)
    torch.testing.assert_close(bicubic_matrix(24, factor).sum(1), torch.ones(24 // factor, dtype=torch.float64))


def test_blur_keeps_the_mean_and_adds_its_variance() -> None:
    point = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    point[..., 15, 15] = 1
    blurred = gaussian_blur(point, 1.5)[0, 0]
    place = torch.arange(31) - 15.0
    assert abs(blurred.sum().item() - 1) < 1e-12
    for axis in (0, 1):
        assert abs((blurred.sum(axis) * place**2).sum().item() - 1.5**2) < 0.01
    flat = torch.full((1, 2, 9, 9), 0.3)
    torch.testing.assert_close(gaussian_blur(flat, 1.0), flat)


def test_jpeg_is_worse_at_lower_quality_and_keeps_flat_grey() -> None:
    x = gaussian_blur(pictures(channels=1).float(), 1.0)
    errors = [(jpeg(x, quality) - x).square().mean().item() for quality in (100, 90, 50, 20, 5)]
    assert errors == sorted(errors)
    assert errors[0] < (2 / 127.5) ** 2
    flat = torch.full((2, 1, 16, 16), 1 / 127.5 - 1) + 128 / 127.5
    torch.testing.assert_close(jpeg(flat, 50), flat, rtol=0, atol=1.01 / 127.5)


def test_noise_has_its_size() -> None:
    x = torch.zeros(6, 3, 64, 64)
    away = noise(x, 0.1, seed=0, index=INDEX)
    psnr = 10 * math.log10(4 / away.square().mean().item())
    assert abs(psnr - 26.02) < 0.05
    assert noise(x + 0.95, 0.5, seed=0, index=INDEX).max() == 1


def test_rain_only_brightens_along_one_slant_in_all_channels() -> None:
    x = torch.full((6, 3, 32, 32), -0.5)
    added = rain(x, seed=0, index=INDEX, density=0.03) - x
    assert added.min() == 0
    assert 0.3 < added.max() <= 0.9
    assert torch.equal(added[:, 0], added[:, 2])
    assert 0.02 < (added[:, 0] > 0).float().mean() < 0.6
    assert torch.equal(rain(x, seed=0, index=INDEX, density=0.0), x)
    bright = torch.ones_like(x)
    assert torch.equal(rain(bright, seed=0, index=INDEX), bright)


def test_pixels_agree_with_those_on_which_bars_were_set() -> None:
    """The sequence of draws is fixed: the figures were measured with it."""
    added = rain(torch.full((1, 1, 8, 8), -1.0), seed=3, index=torch.tensor([4]), density=0.1, length=4.0)[0, 0] + 1
    assert [round(v, 4) for v in added.sum(1).tolist()] == PINNED_RAIN
    mask = mask_free_form(8, seed=3, index=torch.tensor([5]), strokes=2, width=0.25)
    assert mask[0, 0].sum(1).tolist() == PINNED_STROKE


PINNED_RAIN = [0.8765, 0.8765, 0.8598, 0.4141, 0.4141, 0.0, 0.0, 0.8742]
PINNED_STROKE = [2.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 2.0]


def test_holes_have_their_side() -> None:
    centre = mask_centre(2, 24, 10)
    assert torch.equal(centre[0, 0, 7:17, 7:17], torch.ones(10, 10))
    assert centre.sum((1, 2, 3)).tolist() == [100, 100]
    anywhere = mask_random(8, 4, seed=0, index=torch.arange(400))
    assert set(anywhere.sum((1, 2, 3)).tolist()) == {16}
    assert len(anywhere.unique(dim=0)) == 25
    assert anywhere.amax((0, 1)).min() == 1
    assert torch.equal(mask_centre(1, 4, 4), torch.ones(1, 1, 4, 4))


def test_strokes_cover_an_eighth() -> None:
    mask = mask_free_form(32, seed=0, index=torch.arange(100))
    assert set(mask.unique().tolist()) == {0, 1}
    assert abs(mask.mean().item() - 0.126) < 0.02


def test_erase_keeps_and_fills() -> None:
    x, mask = pictures(2), mask_centre(2, 24, 6).double()
    erased = erase(x, mask, fill=-1.0)
    assert torch.equal(erased[mask.expand_as(x) == 0], x[mask.expand_as(x) == 0])
    assert (erased[mask.expand_as(x) == 1] == -1).all()


def test_grey_is_luma() -> None:
    primaries = torch.eye(3).view(3, 3, 1, 1)
    torch.testing.assert_close(grey(primaries).flatten(), torch.tensor([0.299, 0.587, 0.114]))


@pytest.mark.parametrize("name", ["noise", "rain", "mask_random", "mask_free_form"])
def test_what_is_random_depends_on_seed_and_index_alone(name: str) -> None:
    x = pictures().float()
    draw = {
        "noise": lambda seed, i: noise(x[i], 0.1, seed=seed, index=i),
        "rain": lambda seed, i: rain(x[i], seed=seed, index=i, density=0.05),
        "mask_random": lambda seed, i: mask_random(24, 6, seed=seed, index=i),
        "mask_free_form": lambda seed, i: mask_free_form(24, seed=seed, index=i),
    }[name]
    together = draw(0, INDEX)
    assert torch.equal(draw(0, torch.tensor([4])), together[4:5])
    assert not torch.equal(draw(1, INDEX), together)
    assert not torch.equal(draw(0, torch.tensor([4])) - x[4:5], together[3:4] - x[3:4])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: downsample(x, 5), "24 pixels cannot shrink by 5"),
        (lambda x: gaussian_blur(x, 0.0), "sigma is 0.0; expected a positive"),
        (lambda x: gaussian_blur(x, 8.0), "reaches 24 pixels"),
        (lambda x: jpeg(x, 0), "quality is 0; expected 1 to 100"),
        (lambda x: noise(x, 0.1, seed=0, index=torch.arange(5)), r"index is \(5,\) for 6 pictures"),
        (lambda x: mask_centre(1, 24, 25), "hole is 25"),
        (lambda x: mask_random(24, 0, seed=0, index=INDEX), "hole is 0"),
        (lambda x: grey(x[:, :1]), "1 channels; expected 3"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(pictures().float())
