from __future__ import annotations

import sys

import pytest
import torch

from gencore.data.toys.degradations import downsample, grey
from gencore.data.toys.photos import PHOTOGRAPHS, _pixels, grid_crops, photos, region
from gencore.data.toys.rendered import with_input


def test_regions_share_no_pixel_of_the_file() -> None:
    file = _pixels("china")
    train, test = region("china", "train", 1), region("china", "test", 1)
    assert (train.shape, test.shape) == ((3, 427, 480), (3, 427, 160))
    together = torch.cat([train, test], dim=2)
    torch.testing.assert_close(together, file.float() / 127.5 - 1, rtol=0, atol=1e-6)
    assert region("flower", "test").shape == (3, 213, 80)


def test_a_region_is_shrunk_after_it_is_cut() -> None:
    expected = downsample(region("flower", "test", 1)[None, :, :426].double(), 2).clamp(-1, 1).float()[0]
    torch.testing.assert_close(region("flower", "test", 2), expected, rtol=0, atol=1e-6)


def test_crops_are_where_the_grid_has_them() -> None:
    crops, label = grid_crops(24)
    assert crops.shape == (2 * 8 * 3, 3, 24, 24)
    assert label.tolist() == [0] * 24 + [1] * 24
    assert torch.equal(crops[24 + 3 * 2 + 1], region("flower", "test")[:, 48:72, 24:48])


def test_every_crop_is_a_window_of_its_photograph() -> None:
    source = photos(12, size=16, seed=3)
    for crop, label in zip(source.x, source.further["label"], strict=True):
        photograph = region(PHOTOGRAPHS[label], "train")
        assert any(window_at(c, photograph) for c in (crop, crop.flip(-1)))


def window_at(crop: torch.Tensor, photograph: torch.Tensor) -> bool:
    top_left = (photograph == crop[:, :1, :1]).all(0).nonzero().tolist()
    return any(torch.equal(photograph[:, y : y + 16, x : x + 16], crop) for y, x in top_left)


def test_half_are_mirrored_and_both_photographs_are_used() -> None:
    source = photos(400, size=16)
    assert abs(source.further["label"].float().mean().item() - 0.5) < 0.1
    assert photos(4, size=16).shape == (3, 16, 16)


def test_one_channel_is_luma() -> None:
    torch.testing.assert_close(photos(5, channels=1).x, grey(photos(5).x), rtol=0, atol=1e-6)


def test_a_degraded_copy_becomes_the_input() -> None:
    source = photos(5)
    pairs = with_input(source, downsample(source.x).clamp(-1, 1))
    assert pairs.conditions[0].shape == (3, 16, 16)
    assert pairs.fetch(torch.arange(2))["x_input"].shape == (2, 3, 16, 16)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for cached in (_pixels, region):
        monkeypatch.setattr(f"gencore.data.toys.photos.{cached.__name__}", cached.__wrapped__)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ValueError, match="pip install scikit-learn"):
        photos(5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 81, "split": "test"}, "size is 81; expected at most 80"),
        ({"size": 0}, "size is 0; expected at least 1"),
        ({"channels": 2}, "channels is 2"),
        ({"shrink": 0}, "shrink is 0"),
    ],
)
def test_bad_input_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        photos(5, **given)
