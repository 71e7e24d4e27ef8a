from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gencore.conditions import ClassLabel
from gencore.conditions import Image as ImageCondition
from gencore.data import Batches, check_batch, open_source
from gencore.data.source import conditions_of
from gencore.errors import GencoreError


def picture(value: int, path: Path, *, width: int = 6, grey: bool = True) -> None:
    """A square of one grey value, or two side by side: `value`, and 255 - value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((6, width), value, np.uint8)
    pixels[:, 6:] = 255 - value
    image = Image.fromarray(pixels)
    (image if grey else image.convert("RGB")).save(path)


def levels(x: torch.Tensor) -> list[int]:
    return ((x[:, 0, 3, 3] + 1) * 127.5).round().int().tolist()


@pytest.mark.parametrize("names", [("A", "B"), ("input", "target")])
@pytest.mark.parametrize("nested", ["", "train/", "/train"])
def test_two_folders_of_the_same_names(tmp_path: Path, names: tuple[str, str], nested: str) -> None:
    for folder, shift, suffix in ((names[0], 0, "png"), (names[1], 100, "bmp")):
        place = f"{nested}{folder}" if nested.endswith("/") else f"{folder}{nested}"
        for i in (2, 10, 1):
            picture(i + 20 + shift, tmp_path / place / f"{i}.{suffix}")
    source = open_source(f"paired:{tmp_path}")
    batch = Batches(source, 3, seed=0)[0]
    check_batch(batch, source)
    assert conditions_of(source) == (ImageCondition(shape=(1, 6, 6)),)
    assert levels(batch["x"]) == [level + 100 for level in levels(batch["x_input"])]
    assert levels(source.fetch(torch.arange(3))["x_input"]) == [21, 22, 30]


@pytest.mark.parametrize("nested", ["", "train"])
def test_pictures_side_by_side(tmp_path: Path, nested: str) -> None:
    for i in range(3):
        picture(100 + i, tmp_path / nested / f"{i}.png", width=12)
    source = open_source(f"paired:{tmp_path}")
    batch = source.fetch(torch.arange(3))
    assert levels(batch["x_input"]) == [100, 101, 102]
    assert levels(batch["x"]) == [155, 154, 153]
    assert open_source(f"paired:{tmp_path}", image_size=3).shape == (1, 3, 3)
    picture(100, tmp_path / nested / "odd.png", width=13)
    with pytest.raises(GencoreError, match=r"odd\.png.*13 pixels wide"):
        open_source(f"paired:{tmp_path}", image_size=6).fetch(torch.arange(4))


def test_the_split_chooses(tmp_path: Path) -> None:
    for part, value in (("train", 50), ("val", 150)):
        picture(value, tmp_path / part / "1.png", width=12)
    assert levels(open_source(f"paired:{tmp_path}").fetch(torch.arange(1))["x_input"]) == [50]
    assert levels(open_source(f"paired:{tmp_path}", split="test").fetch(torch.arange(1))["x_input"]) == [150]
    with pytest.raises(GencoreError, match="split is 'all': no such part"):
        open_source(f"paired:{tmp_path}", split="all")


def test_input_and_target_may_differ_in_colour(tmp_path: Path) -> None:
    picture(99, tmp_path / "input/1.png")
    picture(99, tmp_path / "target/1.png", grey=False)
    source = open_source(f"paired:{tmp_path}")
    assert (source.shape, conditions_of(source)) == ((3, 6, 6), (ImageCondition(shape=(1, 6, 6)),))


def test_pictures_without_a_partner_are_named(tmp_path: Path) -> None:
    for name in ("A/1.png", "A/2.png", "B/1.png"):
        picture(99, tmp_path / name)
    with pytest.raises(GencoreError, match="1 pictures have no partner of the same name, such as 2 in .*A"):
        open_source(f"paired:{tmp_path}")
    (tmp_path / "B/2.png").write_bytes(b"no")
    with pytest.raises(GencoreError, match=r"2\.png cannot be read"):
        open_source(f"paired:{tmp_path}")
    with pytest.warns(UserWarning, match="1 partners of files left out are left out too: 2"):
        source = open_source(f"paired:{tmp_path}", skip_corrupt=True)
    assert len(source) == 1
    picture(99, tmp_path / "A/1.bmp")
    with pytest.raises(GencoreError, match="differ in their suffix alone"):
        open_source(f"paired:{tmp_path}", skip_corrupt=True)


def test_other_layouts_are_refused_with_the_right_ones(tmp_path: Path) -> None:
    with pytest.raises(GencoreError, match="names no folder"):
        open_source("paired:")
    with pytest.raises(GencoreError, match="unpaired:nowhere names no folder"):
        open_source("unpaired:nowhere")
    for name in ("x/1.png", "y/1.png", "z/1.png"):
        picture(99, tmp_path / name)
    with pytest.raises(GencoreError, match="the folders x, y, z; for pairs expected A and B"):
        open_source(f"paired:{tmp_path}")
    with pytest.raises(GencoreError, match="holds x, y, z; expected trainA, trainB"):
        open_source(f"unpaired:{tmp_path}")


def test_unpaired_as_cyclegan_has_them(tmp_path: Path) -> None:
    for part, values in {"trainA": (20, 21, 22), "trainB": (60, 61), "testA": (120,), "testB": (160,)}.items():
        for value in values:
            picture(value, tmp_path / part / f"{value}.png", grey=part != "trainB")
    source = open_source(f"unpaired:{tmp_path}")
    batch = Batches(source, 3, seed=0)[0]
    check_batch(batch, source)
    assert len(source) == 3
    assert sorted(levels(batch["x"])) == [20, 21, 22]
    assert set(levels(batch["x_b"])) == {60, 61}
    assert batch["x"].shape == batch["x_b"].shape == (3, 3, 6, 6)
    test = open_source(f"unpaired:{tmp_path}", split="test").fetch(torch.arange(1))
    assert (levels(test["x"]), levels(test["x_b"])) == ([120], [160])
    with pytest.raises(GencoreError, match="split is 'all'; expected train or test"):
        open_source(f"unpaired:{tmp_path}", split="all")
    with pytest.raises(GencoreError, match=f"write unpaired:{tmp_path}"):
        open_source(str(tmp_path))
    for name in ("testB/160.png", "testB"):
        path = tmp_path / name
        path.unlink() if path.is_file() else path.rmdir()
    with pytest.raises(GencoreError, match="lacks testB"):
        open_source(f"unpaired:{tmp_path}", split="test")


def test_unpaired_of_two_folders_keeps_their_classes(tmp_path: Path) -> None:
    for name in ("photo/cat/1.png", "photo/dog/1.png", "sketch/1.png"):
        picture(99, tmp_path / name)
    source = open_source(f"unpaired:{tmp_path}")
    assert conditions_of(source) == (ClassLabel(count=2, names=("cat", "dog")),)
    assert set(source.fetch(torch.arange(2))) == {"x", "label", "index", "x_b", "index_b"}
    plain = open_source(f"unpaired:{tmp_path}", condition="none")
    assert set(plain.fetch(torch.arange(2))) == {"x", "index", "x_b", "index_b"}


def test_two_folders_by_two_words(tmp_path: Path) -> None:
    picture(50, tmp_path / "one/1.png")
    picture(90, tmp_path / "two/1.png")
    batch = open_source(str(tmp_path / "one"), second=str(tmp_path / "two")).fetch(torch.arange(1))
    assert (levels(batch["x"]), levels(batch["x_b"])) == ([50], [90])
