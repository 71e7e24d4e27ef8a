from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gencore.data.images import from_pil, from_uint8, grid, resize_images, save_grid, to_pil, to_uint8
from gencore.errors import GencoreError, NonFiniteError

ALL_BYTES = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)


def test_every_byte_survives_the_round_trips() -> None:
    x = from_uint8(ALL_BYTES)
    assert (x.min(), x.max()) == (-1, 1)
    assert torch.equal(to_uint8(x), ALL_BYTES)
    assert torch.equal(from_pil(to_pil(x)), x)
    colour = from_uint8(torch.stack([ALL_BYTES[0], ALL_BYTES[0].T, 255 - ALL_BYTES[0]]))
    assert to_pil(colour).mode == "RGB"
    assert torch.equal(from_pil(to_pil(colour)), colour)


def test_to_uint8_rounds_and_forgives_a_rounding_error() -> None:
    x = torch.tensor([-1.0005, -1, 0.0, 1, 1.0005, 0.5]).reshape(1, 2, 3)
    assert to_uint8(x).flatten().tolist() == [0, 0, 128, 255, 255, 191]
    assert to_uint8(x.bfloat16().clamp(-1, 1)).dtype == torch.uint8


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(4, 4), r"shape \(4, 4\)"),
        (torch.zeros(2, 2, 4, 4), "1 or 3 channels"),
        (torch.zeros(0, 1, 4, 4), r"\(0, 1, 4, 4\)"),
        (torch.zeros(1, 4, 4, dtype=torch.uint8), "uint8; expected floating point"),
        (torch.full((1, 4, 4), 1.1), r"from 1.1 to 1.1; expected \[-1, 1\].*clamp"),
    ],
)
def test_what_is_no_image(x: torch.Tensor, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        to_uint8(x)


def test_other_refusals(tmp_path: Path) -> None:
    x = torch.zeros(3, 1, 4, 4)
    x[1, 0, 2, 2] = torch.nan
    for function in (to_uint8, grid):
        with pytest.raises(NonFiniteError, match=r"1 values .* first is example 1"):
            function(x)
    with pytest.raises(GencoreError, match="one image"):
        to_pil(torch.zeros(1, 1, 4, 4))
    with pytest.raises(GencoreError, match="expected uint8"):
        from_uint8(torch.zeros(3))
    with pytest.raises(GencoreError, match="columns is 0"):
        grid(torch.zeros(1, 1, 4, 4), columns=0)
    with pytest.raises(GencoreError, match="padding is -1"):
        grid(torch.zeros(1, 1, 4, 4), padding=-1)
    with pytest.raises(GencoreError, match="expected images"):
        grid(torch.zeros(1, 4, 4))
    with pytest.raises(GencoreError, match="mode F cannot be used"):
        from_pil(Image.new("F", (3, 3)))
    with pytest.raises(GencoreError, match="image_size is 0"):
        resize_images(torch.zeros(1, 1, 4, 4), 0)


def test_a_grid_shows_every_image_at_its_place() -> None:
    values = torch.linspace(-1, 0.9, 7)
    sheet = np.array(grid(values.reshape(7, 1, 1, 1).expand(7, 1, 4, 5), columns=3, padding=2))
    assert sheet.shape == (3 * 6 + 2, 3 * 7 + 2)
    expected = to_uint8(values.reshape(7, 1, 1)[:, None]).flatten().tolist()
    for i, value in enumerate(expected):
        top, left = 2 + 6 * (i // 3), 2 + 7 * (i % 3)
        cell = sheet[top : top + 4, left : left + 5]
        assert (cell == value).all()
        sheet[top : top + 4, left : left + 5] = 255
    assert (sheet == 255).all()


def test_the_shape_of_a_grid_without_columns() -> None:
    assert grid(torch.zeros(64, 3, 4, 4), padding=0).size == (32, 32)
    assert grid(torch.zeros(5, 1, 4, 4), padding=0).size == (12, 8)
    assert grid(torch.zeros(2, 1, 4, 4), columns=9, padding=0).size == (8, 4)


def test_save_grid_writes_a_png(tmp_path: Path) -> None:
    x = torch.linspace(-1, 1, 4 * 3 * 25).reshape(4, 3, 5, 5)
    save_grid(x, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), np.asarray(grid(x)))
    assert [p.name for p in tmp_path.iterdir()] == ["grid.png"]


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    save_grid(torch.zeros(1, 1, 4, 4), path)
    before = path.read_bytes()
    with pytest.raises(GencoreError):
        save_grid(torch.full((1, 1, 4, 4), torch.nan), path)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="could not write"):
        save_grid(torch.zeros(1, 1, 4, 4), tmp_path / "nowhere" / "grid.png")
    with pytest.raises(GencoreError, match=r"ends in \.png"):
        save_grid(torch.zeros(1, 1, 4, 4), tmp_path / "grid.jpg")


@pytest.mark.parametrize("size", [4, 8, 20, 32])
def test_resizing_is_pillow_s(size: int) -> None:
    """The same filter on both paths: tensors and files."""
    pixels = np.random.Generator(np.random.Philox(key=1)).integers(0, 256, (20, 26), dtype=np.uint8)
    reference = np.asarray(Image.fromarray(pixels[:, 3:23]).resize((size, size), Image.Resampling.BICUBIC)).astype(int)
    tensor = torch.from_numpy(pixels)[None, None]
    assert abs(resize_images(tensor, size)[0, 0].numpy().astype(int) - reference).max() <= 1
    values = from_uint8(tensor)
    floats = Image.fromarray(values[0, 0, :, 3:23].numpy()).resize((size, size), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(np.array(floats)).clamp(-1, 1)
    torch.testing.assert_close(resize_images(values, size)[0, 0], expected, rtol=0, atol=1e-5)


def test_resizing_takes_each_image_for_itself() -> None:
    x = from_uint8(torch.randint(0, 256, (5, 3, 9, 7), generator=torch.Generator().manual_seed(0)).byte())
    together = resize_images(x, 6)
    assert torch.equal(together, torch.cat([resize_images(x[i : i + 1], 6) for i in range(5)]))
    assert torch.equal(resize_images(x, 7), x[:, :, 1:8])
    with pytest.raises(GencoreError, match="no images"):
        resize_images(torch.zeros(2, 3), 4)
