"""Pixels of every kind of PNG file against the specification, deep TIFF files, colour profiles, shrunk JPEGs."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps

from gencore.data.decode import Decoding, UnreadableImageError, _draft, read_header, read_peak, read_pixels
from gencore.data.images import from_pil, read_image
from gencore.errors import GencoreError
from tests.core.data.png_writer import CHANNELS, GREY, GREY_ALPHA, KINDS, PALETTE, RGB, RGBA, png

RANDOM = np.random.Generator(np.random.Philox(key=18))
SIDE = 6


def pixels(path: Path, content: bytes, channels: int, **how: object) -> np.ndarray:
    path.write_bytes(content)
    return read_pixels(path, Decoding(channels, SIDE, **how))  # type: ignore[arg-type]


def nearest(value: Fraction) -> int:
    return int(value + Fraction(1, 2))


def expected(samples: np.ndarray, kind: int, depth: int, key: tuple[int, ...] | None) -> np.ndarray:
    """What the specification says, in exact fractions: floor(v * 255 / (2**depth - 1) + 1/2), over white."""
    top = 2**depth - 1
    colour = 1 if kind in (GREY, GREY_ALPHA) else 3
    out = np.zeros((*samples.shape[:2], colour), np.uint8)
    for place in np.ndindex(*samples.shape[:2]):
        values = [int(v) for v in samples[place]]
        alpha = Fraction(values[colour], top) if kind in (GREY_ALPHA, RGBA) else Fraction(1)
        if key is not None and tuple(values[:colour]) == key:
            alpha = Fraction(0)
        out[place] = [nearest((Fraction(v, top) * alpha + 1 - alpha) * 255) for v in values[:colour]]
    return out


@pytest.mark.parametrize(("kind", "depth"), [pair for pair in KINDS if pair[0] != PALETTE])
@pytest.mark.parametrize("keyed", [False, True])
def test_every_depth_and_colour_type(tmp_path: Path, kind: int, depth: int, keyed: bool) -> None:
    if keyed and kind not in (GREY, RGB):
        return
    samples = RANDOM.integers(0, 2**depth, (SIDE, SIDE, CHANNELS[kind]))
    key = tuple(int(v) for v in samples[2, 3]) if keyed else None
    if key and depth == 16:  # differs from the key in the lowest bits alone
        samples[4, 4] = samples[2, 3] ^ 1
    content = png(samples, kind, depth, key=key)
    wanted = expected(samples, kind, depth, key)
    assert np.array_equal(pixels(tmp_path / "a.png", content, wanted.shape[-1]), wanted)
    assert read_header(tmp_path / "a.png").grey == (kind in (GREY, GREY_ALPHA))
    pil = from_pil(Image.open(io.BytesIO(content)))
    assert torch.equal(((pil + 1) * 127.5).round().byte(), torch.from_numpy(wanted).permute(2, 0, 1))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("alphas", [None, [0], [255, 0], [51, 204]])
def test_palettes(tmp_path: Path, depth: int, alphas: list[int] | None) -> None:
    palette = [(i * 31 % 256, i * 57 % 256, 255 - i) for i in range(2**depth)]
    samples = RANDOM.integers(0, 2**depth, (SIDE, SIDE, 1))
    opacity = [Fraction(a, 255) for a in (alphas or [])] + [Fraction(1)] * 2**depth
    wanted = [
        [[nearest((Fraction(c, 255) * opacity[i] + 1 - opacity[i]) * 255) for c in palette[i]] for i in row]
        for row in samples[..., 0].tolist()
    ]
    content = png(samples, PALETTE, depth, palette=palette, alphas=alphas)
    assert np.array_equal(pixels(tmp_path / "a.png", content, 3), np.array(wanted, np.uint8))


def test_the_colour_key_of_issue_18(tmp_path: Path) -> None:
    """A key of 8 of 15 becomes white; it was 136."""
    samples = np.full((SIDE, SIDE, 1), 8)
    assert (pixels(tmp_path / "a.png", png(samples, GREY, 4, key=(8,)), 1) == 255).all()
    assert (pixels(tmp_path / "b.png", png(samples, GREY, 4, key=(7,)), 1) == 136).all()


def test_16_bits_are_rounded_not_cut(tmp_path: Path) -> None:
    samples = np.full((SIDE, SIDE, 3), 0x7FFF)
    samples[..., 1], samples[..., 2] = 0x00FF, 0xFF00
    assert pixels(tmp_path / "a.png", png(samples, RGB, 16), 3)[0, 0].tolist() == [127, 1, 254]


def test_a_stated_range(tmp_path: Path) -> None:
    samples = RANDOM.integers(0, 4096, (SIDE, SIDE, 1))
    samples[0, 0], samples[0, 1] = 0, 4095
    wanted = np.floor(samples * 255 / 4095 + 0.5).astype(np.uint8)
    assert np.array_equal(pixels(tmp_path / "a.png", png(samples, GREY, 16), 1, data_range=(0, 4095)), wanted)
    Image.fromarray(samples[..., 0].astype(np.int32)).save(tmp_path / "a.tif")
    assert np.array_equal(read_pixels(tmp_path / "a.tif", Decoding(1, SIDE, (0, 4095))), wanted)
    mask = np.array([[0, 1] * 3] * SIDE, np.uint8)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert np.array_equal(read_pixels(tmp_path / "mask.png", Decoding(1, SIDE, (0, 1)))[..., 0], mask * 255)
    with pytest.raises(UnreadableImageError, match="run from 0 to 4095; 0 to 1000 was given as their range"):
        read_pixels(tmp_path / "a.tif", Decoding(1, SIDE, (0, 1000)))


def test_the_largest_sample(tmp_path: Path) -> None:
    samples = np.full((SIDE, SIDE, 1), 4095)
    (tmp_path / "a.png").write_bytes(png(samples, GREY, 16))
    assert read_peak(tmp_path / "a.png") == (4095, 65535)
    Image.fromarray(np.ones((SIDE, SIDE), np.uint8)).save(tmp_path / "b.png")
    assert read_peak(tmp_path / "b.png") == (1, 255)
    (tmp_path / "c.png").write_bytes(png(np.full((SIDE, SIDE, 3), 300), RGB, 16))
    assert read_peak(tmp_path / "c.png") == (300, 65535)


@pytest.mark.parametrize("side", [128, 129, 130, 132, 136, 250, 256, 333])
def test_a_shrunk_jpeg_keeps_its_geometry(tmp_path: Path, side: int) -> None:
    """Black with a white last column: as Pillow shrinks the whole picture; for 129 that is 10 (it was 110)."""
    picture = np.zeros((side, side), np.uint8)
    picture[:, -1] = 255
    Image.fromarray(picture).save(tmp_path / "a.jpg", quality=100)
    reference = np.asarray(Image.fromarray(picture).resize((8, 8), Image.Resampling.BICUBIC)).astype(int)
    small = read_pixels(tmp_path / "a.jpg", Decoding(1, 8))[..., 0].astype(int)
    assert abs(small - reference).max() <= (1 if side % 4 else 3)
    if side == 129:
        assert small[4, 7] == pytest.approx(10, abs=1)


@pytest.mark.parametrize("size", [(129, 97), (250, 136), (336, 500), (160, 160)])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_turned_and_shrunk_jpeg_shows_the_same_as_the_whole(
    tmp_path: Path, size: tuple[int, int], orientation: int
) -> None:
    smooth = Image.fromarray(RANDOM.integers(0, 256, (9, 9), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth.save(tmp_path / "a.jpg", quality=98, exif=exif)
    whole = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))
    left, top, side = (whole.width - min(size)) // 2, (whole.height - min(size)) // 2, min(size)
    reference = whole.crop((left, top, left + side, top + side)).resize((4, 4), Image.Resampling.BICUBIC)
    small = read_pixels(tmp_path / "a.jpg", Decoding(1, 4))[..., 0]
    assert abs(small.astype(int) - np.asarray(reference)).max() <= 3


@pytest.mark.parametrize("size", [(9, 6), (6, 9)])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_the_square_is_cut_from_the_upright_picture_to_the_pixel(
    tmp_path: Path, size: tuple[int, int], orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RANDOM.integers(0, 256, size[::-1], dtype=np.uint8)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        upright = ImageOps.exif_transpose(image)
    left, top = (upright.width - SIDE) // 2, (upright.height - SIDE) // 2
    wanted = np.asarray(upright.crop((left, top, left + SIDE, top + SIDE)))
    assert np.array_equal(read_pixels(tmp_path / "a.png", Decoding(1, SIDE))[..., 0], wanted)


def test_large_jpegs_are_decoded_smaller(tmp_path: Path) -> None:
    Image.new("L", (512, 800)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert (_draft(image, 16), image.size) == (8, (64, 100))


def swapped_profile() -> bytes:
    """sRGB with its red and blue primaries exchanged, and another name."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(profile[i : i + 4]): i for i in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12)}
    red, blue = tags[b"rXYZ"] + 4, tags[b"bXYZ"] + 4
    profile[red : red + 8], profile[blue : blue + 8] = profile[blue : blue + 8], profile[red : red + 8]
    at = int.from_bytes(profile[tags[b"desc"] + 4 : tags[b"desc"] + 8], "big")
    size = int.from_bytes(profile[tags[b"desc"] + 8 : tags[b"desc"] + 12], "big")
    profile[at : at + size] = profile[at : at + size].replace(
        "sRGB".encode("utf-16-be"), "other".encode("utf-16-be")[:8]
    )
    return bytes(profile)


def test_colour_profiles_become_srgb(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    Image.new("RGB", (SIDE, SIDE), (200, 30, 10)).save(tmp_path / "a.png", icc_profile=swapped_profile())
    assert read_pixels(tmp_path / "a.png", Decoding(3, SIDE))[2, 2].tolist() == pytest.approx([10, 30, 200], abs=2)
    Image.new("RGBA", (SIDE, SIDE), (200, 30, 10, 51)).save(tmp_path / "alpha.png", icc_profile=swapped_profile())
    over_white = [round(0.2 * v + 0.8 * 255) for v in (10, 30, 200)]
    assert read_pixels(tmp_path / "alpha.png", Decoding(3, SIDE))[2, 2].tolist() == pytest.approx(over_white, abs=1)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (SIDE, SIDE), (200, 30, 10)).save(tmp_path / "b.png", icc_profile=srgb)
    assert read_pixels(tmp_path / "b.png", Decoding(3, SIDE))[2, 2].tolist() == [200, 30, 10]
    assert not recwarn.list


@pytest.mark.parametrize("profile", [b"no profile", "RGB on grey"])
def test_a_profile_that_does_not_fit_is_said(tmp_path: Path, profile: bytes | str) -> None:
    data = profile if isinstance(profile, bytes) else ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("L", (SIDE, SIDE), 90).save(tmp_path / "a.png", icc_profile=data)
    with pytest.warns(UserWarning, match=r"a\.png has a colour profile that cannot be used"):
        assert (read_pixels(tmp_path / "a.png", Decoding(1, SIDE)) == 90).all()


def test_deep_tiff_colours_are_rounded(tmp_path: Path) -> None:
    """A hand-written little-endian TIFF of 16-bit RGB."""
    samples = RANDOM.integers(0, 65536, (SIDE, SIDE, 3)).astype("<u2")
    data = samples.tobytes()
    entries = [
        *((256, 3, 1, SIDE), (257, 3, 1, SIDE), (258, 3, 3, 8 + 2 + 10 * 12 + 4), (259, 3, 1, 1), (262, 3, 1, 2)),
        *((273, 4, 1, 8 + 2 + 10 * 12 + 4 + 6), (277, 3, 1, 3), (278, 3, 1, SIDE), (279, 4, 1, len(data))),
        (284, 3, 1, 1),
    ]
    out = b"II*\0" + (8).to_bytes(4, "little") + len(entries).to_bytes(2, "little")
    for tag, kind, count, value in entries:
        out += b"".join(n.to_bytes(w, "little") for n, w in ((tag, 2), (kind, 2), (count, 4), (value, 4)))
    out += bytes(4) + (16).to_bytes(2, "little") * 3 + data
    wanted = np.floor(samples.astype(float) * 255 / 65535 + 0.5).astype(np.uint8)
    assert np.array_equal(pixels(tmp_path / "a.tif", out, 3), wanted)


def test_read_image(tmp_path: Path) -> None:
    picture = Image.fromarray(RANDOM.integers(0, 256, (12, 20, 3), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    x = read_image(tmp_path / "a.png")
    assert torch.equal(((x + 1) * 127.5).round().byte(), torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    assert read_image(tmp_path / "a.png", channels=1).shape == (1, 12, 20)
    part = np.array(picture.crop((4, 0, 16, 12)).resize((6, 6), Image.Resampling.BICUBIC))
    resized = read_image(str(tmp_path / "a.png"), channels=3, size=(6, 6))
    assert torch.equal(((resized + 1) * 127.5).round().byte(), torch.from_numpy(part).permute(2, 0, 1))
    with pytest.raises(GencoreError, match="does not exist"):
        read_image(tmp_path / "none.png")
    with pytest.raises(GencoreError, match="channels is 2"):
        read_image(tmp_path / "a.png", channels=2)
