"""What of the given picture stands in a translation as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gencore.data.images import from_uint8
from gencore.data.toys.degradations import LUMA, erase
from gencore.errors import GencoreError
from gencore_translation.parts.keeping import check_keeps, holes, kept, kept_of, membrane, seen
from gencore_translation.parts.unet import UNet


def test_light_and_dark_of_a_grey_picture_stay() -> None:
    """And the differences of colours are the network's."""
    given, made = torch.rand(2, 1, 5, 4) * 2 - 1, torch.rand(2, 3, 5, 4) * 2 - 1
    out = kept(made, given, "luma")
    luma = sum(weight * out[:, channel] for channel, weight in enumerate(LUMA))
    torch.testing.assert_close(luma, given[:, 0])
    torch.testing.assert_close(out[:, 0] - out[:, 2], made[:, 0] - made[:, 2])


def test_holes_are_mid_grey() -> None:
    """127 and 128 of 8 bits in all channels, as near to it as a file's hole can be."""
    levels = [[127, 128, 126, 129, 127], [128] * 5, [128, 127, 127, 127, 200]]
    given = from_uint8(torch.tensor(levels, dtype=torch.uint8)[None, :, None])
    assert holes(given).flatten().tolist() == [True, True, False, False, False]
    mask = torch.zeros(1, 1, 1, 5)
    mask[..., 4] = 1
    assert holes(erase(given, mask))[..., 4].all()


def disc(height: int, width: int, radius: float) -> Tensor:
    """(1, 1, height, width) bool, in the middle."""
    down, across = torch.meshgrid(torch.arange(height) - height / 2, torch.arange(width) - width / 2, indexing="ij")
    return (down.square() + across.square() < radius**2)[None, None]


def test_the_membrane_goes_on_evenly() -> None:
    """A slope, which solves Laplace's equation, goes on through a hole to about a level of 8 bits; the mean of what is
    around it is 20 times as far from it. Pixels around the hole stay; another picture's do not matter."""
    slope = torch.linspace(-0.9, 0.9, 40).expand(2, 3, 37, 40).clone()
    slope[1] *= -1
    hole = disc(37, 40, 12)
    filled = membrane(slope.masked_fill(hole, 0), hole)
    assert torch.equal(filled.masked_select(~hole), slope.masked_select(~hole))
    error = (filled - slope).masked_select(hole.expand_as(slope)).square().mean().sqrt()
    assert error < 0.012
    assert slope.masked_select(hole.expand_as(slope)).square().mean().sqrt() > 20 * error


def test_the_membrane_within_bounds() -> None:
    """No new extremes in a hole of any place or shape, and nothing changes where nothing is known, or all is."""
    torch.manual_seed(0)
    x = torch.rand(4, 1, 9, 14) * 2 - 1
    hole = torch.rand(4, 1, 9, 14) < torch.tensor([0.1, 0.5, 0.9, 0.97])[:, None, None, None]
    filled = membrane(x.masked_fill(hole, 0), hole)
    for i in range(4):
        known = x[i].masked_select(~hole[i])
        assert known.min() <= filled[i].min() <= filled[i].max() <= known.max()
    nothing = torch.ones_like(hole)
    assert not membrane(torch.zeros_like(x), nothing).any()
    assert torch.equal(membrane(x, ~nothing), x)


def test_pixels_around_a_hole_stay() -> None:
    given = torch.full((1, 3, 1, 5), -0.25)
    given[..., 1:3] = 0
    made = torch.full((1, 3, 1, 5), 0.5)
    shown = seen(given, "known")
    assert shown.shape == (1, 4, 1, 5)
    assert shown[0, 3, 0].tolist() == [0, 1, 1, 0, 0]
    expected = torch.full((1, 3, 1, 5), -0.25)
    expected[..., 1:3] = 0.25
    torch.testing.assert_close(kept(made, shown, "known"), expected)


def test_the_translator_keeps_what_it_is_told() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 9, 8) * 2 - 1
    x[..., 2:5, 3:6] = 0
    filling = UNet(3, 3, width=4, depth=2, norm="none", keeps="known")
    assert filling.tiling is None
    made = filling(x)
    same = (made == x).all(1)[0]
    assert not same[2:5, 3:6].any()
    assert int(same.sum()) == 9 * 8 - 9
    assert not (UNet(3, 3, width=4, depth=2, norm="none")(x) == x).any()


def test_what_a_degradation_leaves() -> None:
    words = ("grey", "hole:3", "random-hole:3", "strokes:2", "blur:1", "rain:0.1", "")
    assert [kept_of(word) for word in words] == ["luma", "known", "known", "known", "nothing", "nothing", "nothing"]


@pytest.mark.parametrize(("keeps", "given", "made"), [("luma", 3, 3), ("luma", 1, 1), ("known", 1, 3), ("all", 3, 3)])
def test_what_cannot_be_kept(keeps: str, given: int, made: int) -> None:
    with pytest.raises(GencoreError, match="keeps is"):
        check_keeps(keeps, given, made)
