"""Pixels kept on the disk: the same as decoded ones, written whole or not at all, and anew where pictures changed."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gencore.data import image_folder, open_source
from gencore.data.decode import UnreadableImageError
from gencore.data.sources import decoded as decoded_module
from gencore.data.sources import folder as folder_module
from gencore.errors import GencoreError
from gencore_hub import StorageError

ALL = torch.arange(5)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    drawn = np.random.default_rng(0).integers(0, 256, (5, 11, 17, 3), dtype=np.uint8)
    for i, pixels in enumerate(drawn):
        folder = tmp_path / "pictures" / ("cat" if i < 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def test_equal_and_without_a_decoder_afterwards(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = image_folder(pictures, 8).fetch(ALL)
    image_folder(pictures, 8).decoded_in(tmp_path / "kept")
    monkeypatch.setattr(folder_module, "read_pixels", lambda *_: pytest.fail("decoded again"))
    monkeypatch.setattr(decoded_module, "_write", lambda *_: pytest.fail("written again"))
    source = image_folder(pictures, 8).decoded_in(tmp_path / "kept")
    kept = source.fetch(ALL)
    assert all(torch.equal(kept[key], plain[key]) for key in plain)
    chosen = source.chosen([3, 1]).fetch(torch.tensor([1, 0]))
    assert torch.equal(chosen["x"], plain["x"][[1, 3]])


def test_changed_pictures_and_other_sizes_are_decoded(pictures: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    before = image_folder(pictures, 8).decoded_in(kept).fetch(ALL)["x"]
    assert image_folder(pictures, 4).decoded_in(kept).fetch(ALL)["x"].shape[-1] == 4
    Image.new("RGB", (11, 17), "white").save(pictures / "cat/0.png")
    after = image_folder(pictures, 8).decoded_in(kept).fetch(ALL)["x"]
    assert after[0].min() == 1
    assert torch.equal(after[1:], before[1:])
    assert len(list(kept.iterdir())) == 3


def spoil_length(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def spoil_header(path: Path) -> None:
    path.write_bytes(b"nonsense")


def spoil_shape(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.zeros((4, 8, 8, 3), dtype=np.uint8))


def spoil_kind(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("spoil", [spoil_length, spoil_header, spoil_shape, spoil_kind])
def test_a_file_that_is_not_what_it_should_be_is_written_anew(pictures: Path, tmp_path: Path, spoil: Any) -> None:
    first = image_folder(pictures, 8).decoded_in(tmp_path / "kept").fetch(ALL)["x"].clone()
    (file,) = (tmp_path / "kept").iterdir()
    spoil(file)
    assert torch.equal(image_folder(pictures, 8).decoded_in(tmp_path / "kept").fetch(ALL)["x"], first)
    assert not file.is_symlink()


def test_a_broken_picture_leaves_nothing_behind(pictures: Path, tmp_path: Path) -> None:
    broken = pictures / "dog/4.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    with pytest.raises(UnreadableImageError, match=r"4\.png"):
        image_folder(pictures, 8, data_range=(0, 255)).decoded_in(tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())


def test_a_full_disk(pictures: Path, tmp_path: Path) -> None:
    """Told, and nothing is left of it; a file-size limit stands for the disk."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(StorageError, match="Free some space"):
            image_folder(pictures, 8).decoded_in(tmp_path / "kept")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list((tmp_path / "kept").iterdir())


def test_by_name(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through --data: folders and pairs of them; other data refuse it."""
    monkeypatch.chdir(pictures)
    assert len(open_source(".", image_size=8, cache="../kept")) == 5
    open_source("unpaired:.", image_size=8, cache="../two", split="all")
    assert len(list((tmp_path / "two").iterdir())) == 2
    (pictures / "digits").mkdir()
    for word in ("digits", "gaussian:0,1"):
        with pytest.raises(GencoreError, match="cache is for folders of images"):
            open_source(word, cache="kept")
