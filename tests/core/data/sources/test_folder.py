from __future__ import annotations

import os
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from gencore.conditions import ClassLabel
from gencore.data import Batches, check_batch, image_folder
from gencore.data.decode import UnreadableImageError
from gencore.data.source import conditions_of
from gencore.errors import GencoreError

RANDOM = np.random.Generator(np.random.Philox(key=3))


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    pixels = RANDOM.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels if channels > 1 else pixels[..., 0])


def save(image: Image.Image, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def only(folder: Path, **options: object) -> torch.Tensor:
    """The one image of a folder, (C, H, W) as whole numbers 0 ... 255."""
    source = image_folder(folder, **options)  # type: ignore[arg-type]
    assert len(source) == 1
    return (source.fetch(torch.tensor([0]))["x"][0] + 1) * 127.5


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "PNG", "ppm"])
def test_lossless_files_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    image = noise(8, 8)
    save(image, tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    assert torch.equal(only(tmp_path).round().byte(), torch.from_numpy(np.array(image)).permute(2, 0, 1))


def test_crop_and_resize(tmp_path: Path) -> None:
    image = noise(40, 24)
    save(image, tmp_path / "a.png")
    reference = image.crop((8, 0, 32, 24)).resize((6, 6), Image.Resampling.BICUBIC)
    assert torch.equal(
        only(tmp_path, image_size=6).round().byte(), torch.from_numpy(np.array(reference)).permute(2, 0, 1)
    )


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, [255]),
        ("L", 100, [100]),
        ("LA", (100, 255), [100]),
        ("LA", (0, 0), [255]),
        ("LA", (100, 51), [224]),
        ("RGB", (10, 20, 30), [10, 20, 30]),
        ("RGBA", (10, 20, 30, 0), [255, 255, 255]),
        ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
        ("P", 1, [10, 20, 30]),
        ("I;16", 25700, [100]),
        ("I;16", 60000, [233]),
        ("I;16", 65535, [255]),
    ],
)
def test_modes(tmp_path: Path, mode: str, colour: object, expected: list[int]) -> None:
    image = Image.new(mode, (4, 4), colour)  # type: ignore[arg-type]
    if mode == "P":
        image.putpalette([0, 0, 0, 10, 20, 30])
    save(image, tmp_path / "a.png")
    x = only(tmp_path)
    assert x.shape[0] == len(expected)
    assert x[:, 2, 2].round().tolist() == expected
    assert only(tmp_path, channels=1).shape[0] == 1
    assert only(tmp_path, channels=3).shape[0] == 3


def test_cmyk_palette_transparency_and_32_bit_integers(tmp_path: Path) -> None:
    save(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), tmp_path / "cmyk" / "a.tif")
    assert only(tmp_path / "cmyk")[:, 0, 0].round().tolist() == [255, 0, 0]
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    save(palette, tmp_path / "palette" / "a.png", transparency=1)
    assert only(tmp_path / "palette")[:, 0, 0].round().tolist() == [255, 255, 255]
    grey = Image.fromarray(np.array([[25700, 51400]] * 2, np.uint16))
    save(grey, tmp_path / "grey" / "a.png", transparency=25700)
    assert only(tmp_path / "grey")[0].round().tolist() == [[255, 200]] * 2
    save(Image.fromarray(np.full((4, 4), 51400, np.int32)), tmp_path / "int" / "a.tif")
    assert only(tmp_path / "int").round().unique().tolist() == [200]
    save(Image.fromarray(np.full((4, 4), 70000, np.int32)), tmp_path / "wide" / "a.tif")
    with pytest.raises(UnreadableImageError, match="from 70000 to 70000; 0 to 65535"):
        only(tmp_path / "wide")
    save(Image.fromarray(np.zeros((4, 4), np.float32)), tmp_path / "float" / "a.tif")
    with pytest.raises(UnreadableImageError, match="floats of unknown range"):
        only(tmp_path / "float")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_turns_images_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = Image.new("L", (16, 16), 0)
    stored.paste(255, (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(stored, tmp_path / f"a.{suffix}", exif=exif)
    corners = only(tmp_path)[0][[3, 3, 12, 12], [3, 12, 3, 12]]
    bright = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    assert divmod(int(corners.argmax()), 2) == bright
    assert corners.max() > 240
    assert corners.sort().values[2] < 15


def test_exif_turns_before_the_crop(tmp_path: Path) -> None:
    image = noise(30, 20)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(image, tmp_path / "a.png", exif=exif)
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
    reference = np.array(upright.crop((0, 5, 20, 25)))
    assert torch.equal(only(tmp_path, image_size=20).round().byte(), torch.from_numpy(reference).permute(2, 0, 1))


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    save(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert only(tmp_path)[:, 0, 0].round().tolist() == [255, 0, 0]


def test_large_jpegs_are_close_to_a_full_decode(tmp_path: Path) -> None:
    """The decoder's own downscaling (draft) saves time, and must not change what is seen."""
    smooth = noise(16, 16).resize((320, 320), Image.Resampling.BICUBIC)
    path = save(smooth, tmp_path / "a.jpg", quality=95)
    with Image.open(path) as opened:
        reference = np.array(opened.resize((64, 64), Image.Resampling.BICUBIC)).astype(float)
    assert abs(only(tmp_path, image_size=64).permute(1, 2, 0).numpy() - reference).mean() < 1.5


def test_grey_folders_have_one_channel_and_mixed_ones_three(tmp_path: Path) -> None:
    save(noise(4, 4, 1), tmp_path / "a.png")
    save(Image.new("I;16", (4, 4)), tmp_path / "b.png")
    assert image_folder(tmp_path).shape == (1, 4, 4)
    save(noise(4, 4), tmp_path / "c.png")
    assert image_folder(tmp_path).shape == (3, 4, 4)


def test_labels_are_sub_folders_one_level_down(tmp_path: Path) -> None:
    for name in ("b/1.png", "a/2.png", "a/1.png"):
        save(noise(4, 4), tmp_path / name)
    source = image_folder(tmp_path)
    batch = source.fetch(torch.arange(3))
    check_batch(batch, (3, 4, 4))
    assert source.class_names == ("a", "b")
    assert source.num_classes == 2
    assert batch["label"].tolist() == [0, 0, 1]
    assert [p.relative_to(tmp_path).as_posix() for p in source.paths] == ["a/1.png", "a/2.png", "b/1.png"]
    assert image_folder(tmp_path / "a").num_classes is None
    (tmp_path / "b/1.png").unlink()
    assert image_folder(tmp_path).num_classes is None


@pytest.mark.parametrize("further", ["top.png", "a/deep/x.png", "c/deep/x.png"])
def test_a_stray_picture_does_not_make_the_labels_vanish(tmp_path: Path, further: str) -> None:
    for name in ("a/1.png", "b/1.png", further):
        save(noise(4, 4), tmp_path / name)
    with pytest.raises(GencoreError, match=rf"1 pictures that do not lie directly.*{further}.*--condition none"):
        image_folder(tmp_path)
    source = image_folder(tmp_path, labels=False)
    assert len(source) == 3
    assert source.num_classes is None
    assert "label" not in source.fetch(torch.tensor([0]))


def test_pictures_that_all_lie_deeper_have_no_labels(tmp_path: Path) -> None:
    for name in ("a/deep/1.png", "b/deep/1.png"):
        save(noise(4, 4), tmp_path / name)
    assert image_folder(tmp_path).num_classes is None


def test_classes_are_in_natural_order(tmp_path: Path) -> None:
    for name in ("10", "2", "0", "1", "b", "A"):
        save(noise(4, 4), tmp_path / name / "1.png")
    source = image_folder(tmp_path)
    assert source.class_names == ("0", "1", "2", "10", "A", "b")
    assert conditions_of(source) == (ClassLabel(count=6, names=source.class_names),)
    assert source.fetch(torch.arange(6))["label"].tolist() == [0, 1, 2, 3, 4, 5]
    assert [path.parent.name for path in source.paths] == list(source.class_names)


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    for name in ("a", "c"):
        save(noise(4, 4), tmp_path / name / "1.png")
    (tmp_path / "b").mkdir()
    (tmp_path / "lost+found").mkdir()
    with pytest.raises(GencoreError, match="class folders, of which b hold no pictures"):
        image_folder(tmp_path)
    (tmp_path / "b").rmdir()
    assert image_folder(tmp_path).class_names == ("a", "c")


def test_a_class_whose_pictures_are_all_broken_keeps_its_number(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        save(noise(4, 4), tmp_path / name / "1.png")
    (tmp_path / "b" / "1.png").write_bytes(b"no")
    with pytest.warns(UserWarning, match="1 of 3 images left out"):
        source = image_folder(tmp_path, skip_corrupt=True)
    assert source.class_names == ("a", "b", "c")
    assert source.fetch(torch.arange(2))["label"].tolist() == [0, 2]


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "Test", "cat")])
def test_parts_of_a_data_set_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        save(noise(4, 4), tmp_path / name / "1.png")
    with pytest.raises(GencoreError, match=f"holds .*{names[0]}.* parts of one data set"):
        image_folder(tmp_path)
    assert len(image_folder(tmp_path, labels=False)) == len(names)


@pytest.mark.parametrize(
    "suffix", ["jfif", "jp2", "tga", "ico", "apng", "dib", "jpe", "pcx", "sgi", "qoi", "mpo", "JFIF", "j2k", "icns"]
)
def test_what_pillow_registers_is_taken(tmp_path: Path, suffix: str) -> None:
    kind = {"apng": "PNG", "jfif": "JPEG", "mpo": "MPO"}.get(suffix.lower())
    side = 16 if suffix in ("ico", "icns") else 8
    save(Image.new("RGB", (side, side), (200, 100, 50)), tmp_path / f"a.{suffix}", **({"format": kind} if kind else {}))
    assert only(tmp_path, image_size=8)[:, 4, 4].round().tolist() == pytest.approx([200, 100, 50], abs=3)


def test_other_files_are_counted_and_named(tmp_path: Path) -> None:
    save(noise(4, 4), tmp_path / "a.png")
    for name in ("1.heic", "2.heic", "3.jxl", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"4 files .* passed over: 2 \.heic, 1 \.jxl, 1 \.txt.*\.heic \(pillow-heif\)"):
        assert len(image_folder(tmp_path)) == 1
    (tmp_path / "a.png").unlink()
    with pytest.raises(GencoreError, match=r"holds no images.*\.jxl \(pillow-jxl-plugin\)"):
        image_folder(tmp_path)


def test_nearly_black_pictures_need_a_range(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [1, 0]], np.uint8)
    save(Image.fromarray(mask), tmp_path / "a.png")
    with pytest.raises(GencoreError, match=r"whole numbers up to 1, of 255.*--data-range 0,1\)"):
        image_folder(tmp_path)
    assert only(tmp_path, data_range=(0, 1))[0].tolist() == [[0, 255], [255, 0]]
    assert only(tmp_path, data_range=(0, 255))[0].round().tolist() == [[0, 1], [1, 0]]
    save(Image.fromarray(mask * 200), tmp_path / "b.png")
    assert len(image_folder(tmp_path)) == 2


@pytest.mark.parametrize(("value", "dtype"), [(4095, np.uint16), (16383, np.uint16), (255, np.int32)])
def test_deep_files_that_use_few_bits_need_a_range(tmp_path: Path, value: int, dtype: type) -> None:
    save(Image.fromarray(np.array([[0, value], [value, 0]], dtype)), tmp_path / "a.tif")
    with pytest.raises(GencoreError, match=f"up to {value}, of 65535.*--data-range 0,{value}"):
        image_folder(tmp_path)
    assert only(tmp_path, data_range=(0, value))[0].round().tolist() == [[0, 255], [255, 0]]


def test_the_digest_is_that_of_names_and_sizes(tmp_path: Path) -> None:
    for root in ("one", "two"):
        for name in ("a/1.png", "b/1.png"):
            save(Image.new("L", (4, 4), 200), tmp_path / root / name)
    first = image_folder(tmp_path / "one").digest
    assert image_folder(tmp_path / "two").digest == first
    (tmp_path / "two/a/1.png").rename(tmp_path / "two/a/2.png")
    assert image_folder(tmp_path / "two").digest != first
    save(noise(4, 4), tmp_path / "one/a/1.png")
    assert image_folder(tmp_path / "one").digest != first


def test_what_is_not_part_of_the_data(tmp_path: Path) -> None:
    save(noise(4, 4), tmp_path / "deep" / "er" / "a.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._a.png").write_bytes(b"left by a Mac")
    save(noise(4, 4), tmp_path / ".thumbnails" / "a.png")
    os.symlink(tmp_path, tmp_path / "deep" / "circle")
    assert [p.name for p in image_folder(tmp_path).paths] == ["a.png"]


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    save(noise(4, 4), tmp_path / "elsewhere" / "a.png")
    (tmp_path / "root").mkdir()
    for name in ("x", "y"):
        os.symlink(tmp_path / "elsewhere", tmp_path / "root" / name)
    assert image_folder(tmp_path / "root").class_names == ("x", "y")


def spoil(folder: Path) -> dict[str, Path]:
    """One good image, and files that are broken in different ways: by their header, and only further down."""
    save(noise(64, 64), folder / "good.png")
    whole = {suffix: save(noise(64, 64), folder / f"cut.{suffix}") for suffix in ("png", "jpg", "webp", "gif", "bmp")}
    for path in whole.values():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    header = folder / "header.png"
    header.write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    empty = folder / "empty.jpg"
    empty.write_bytes(b"")
    return whole | {"header": header, "empty": empty}


def test_files_with_a_broken_header_are_all_named(tmp_path: Path) -> None:
    broken = spoil(tmp_path)
    with pytest.raises(UnreadableImageError, match="--skip-corrupt") as caught:
        image_folder(tmp_path, image_size=8)
    assert all(str(broken[name]) in str(caught.value) for name in ("header", "empty"))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif"])
def test_a_file_that_is_broken_further_down_is_named_when_fetched(tmp_path: Path, suffix: str) -> None:
    path = save(noise(64, 64), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = image_folder(tmp_path, image_size=8, channels=3)
    with pytest.raises(UnreadableImageError, match=r"a\.\w+ cannot be read as an image: .*skip_corrupt=True") as caught:
        source.fetch(torch.tensor([0]))
    assert caught.value.path == path


def test_skip_corrupt_leaves_out_broken_files_and_names_them(tmp_path: Path) -> None:
    broken = spoil(tmp_path)
    with pytest.warns(UserWarning, match=f"{len(broken)} of {len(broken) + 1} images left out") as caught:
        source = image_folder(tmp_path, image_size=8, skip_corrupt=True)
    assert all(str(path) in str(caught[0].message) for path in broken.values())
    assert source.skipped == tuple(sorted(broken.values()))
    assert [path.name for path in source.paths] == ["good.png"]
    check_batch(source.fetch(torch.tensor([0])), (3, 8, 8))


def test_skip_corrupt_is_silent_where_all_is_well(tmp_path: Path) -> None:
    save(noise(4, 4), tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_folder(tmp_path, skip_corrupt=True).skipped == ()


@pytest.mark.parametrize("skip", [False, True])
def test_folders_without_a_usable_image(tmp_path: Path, skip: bool) -> None:
    with pytest.raises(GencoreError, match=r"holds no images\. Names that end in \.apng"):
        image_folder(tmp_path, skip_corrupt=skip)
    with pytest.raises(GencoreError, match="cannot be listed: No such file"):
        image_folder(tmp_path / "nowhere", skip_corrupt=skip)
    (tmp_path / "a.png").write_bytes(b"no")
    (tmp_path / "b.png").write_bytes(b"no")
    with pytest.raises(
        GencoreError, match=r"none of the 2 images.*can be read" if skip else "2 files in all"
    ) as caught:
        image_folder(tmp_path, skip_corrupt=skip)
    assert "b.png" in str(caught.value)


def test_a_long_list_of_broken_files_is_cut(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i}.png").write_bytes(b"no")
    with pytest.raises(GencoreError, match="and 10 more"):
        image_folder(tmp_path, skip_corrupt=True)


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    for i in range(6):
        save(noise(4, 4), tmp_path / f"{i}.png")
    batches = Batches(image_folder(tmp_path), 2, seed=0)
    (tmp_path / "3.png").unlink()
    ahead = batches.prefetch()
    with pytest.raises(GencoreError, match=r"3\.png has vanished"):
        [next(ahead) for _ in range(3)]


def test_prefetch_of_files_is_the_same_as_fetching(tmp_path: Path) -> None:
    for i in range(10):
        save(noise(9 + i, 12), tmp_path / f"{i}.png")
    batches = Batches(image_folder(tmp_path, image_size=8), 3, seed=0)
    for number, batch in zip(range(12), batches.prefetch(), strict=False):
        assert torch.equal(batch["x"], batches[number]["x"])
        assert torch.equal(batch["index"], batches[number]["index"])


def test_sizes_that_differ_need_an_image_size(tmp_path: Path) -> None:
    save(noise(8, 8), tmp_path / "a.png")
    save(noise(8, 9), tmp_path / "b.png")
    with pytest.raises(GencoreError, match=r"not squares of one size \(8 x 8, 8 x 9\).*--image-size 32"):
        image_folder(tmp_path)
    with pytest.raises(GencoreError, match="image_size is 0"):
        image_folder(tmp_path, image_size=0)
    with pytest.raises(GencoreError, match="channels is 4"):
        image_folder(tmp_path, image_size=8, channels=4)


def test_decompression_bombs_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(Image.new("L", (100, 100)), tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(UnreadableImageError, match=r"bomb\.png.*10000 pixels.*exceeds limit.*MAX_IMAGE_PIXELS"):
        image_folder(tmp_path)


def test_folders_nested_a_thousand_deep(tmp_path: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    save(noise(4, 4), tmp_path / "a.png")
    assert [p.name for p in image_folder(tmp_path).paths] == ["a.png"]
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)
