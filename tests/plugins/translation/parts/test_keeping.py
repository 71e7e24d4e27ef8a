"""What of the given picture stands in a translation as it is."""

from __future__ import annotations

import pytest
import torch

from gencore.data.images import from_uint8
from gencore.data.toys.degradations import LUMA, erase
from gencore.errors import GencoreError
from gencore_translation.parts.keeping import check_keeps, kept, kept_of
from gencore_translation.parts.unet import UNet


def test_light_and_dark_of_a_grey_picture_stay() -> None:
    """And the differences of colours are the network's."""
    given, made = torch.rand(2, 1, 5, 4) * 2 - 1, torch.rand(2, 3, 5, 4) * 2 - 1
    out = kept(made, given, "luma")
    luma = sum(weight * out[:, channel] for channel, weight in enumerate(LUMA))
    torch.testing.assert_close(luma, given[:, 0])
    torch.testing.assert_close(out[:, 0] - out[:, 2], made[:, 0] - made[:, 2])


def test_pixels_around_a_hole_stay() -> None:
    """Those of 8 bits that are no mid grey in all channels; 127 and 128 are as near to it as a file's hole can be."""
    levels = [[127, 128, 126, 129, 127], [128] * 5, [128, 127, 127, 127, 200]]
    given = from_uint8(torch.tensor(levels, dtype=torch.uint8)[None, :, None])
    made = torch.full((1, 3, 1, 5), 0.5)
    expected = given.clone()
    expected[..., [0, 1]] = 0.5
    assert torch.equal(kept(made, given, "known"), expected)
    mask = torch.zeros(1, 1, 1, 5)
    mask[..., 4] = 1
    assert (kept(made, erase(given, mask), "known")[..., 4] == 0.5).all()


def test_the_translator_keeps_what_it_is_told() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 9, 8) * 2 - 1
    x[..., 2:5, 3:6] = 0
    made = UNet(3, 3, width=4, depth=2, norm="none", keeps="known")(x)
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
