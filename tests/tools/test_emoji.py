"""Pictures from a package: those of one folder, on white; another package is refused."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from tools.emoji import fetch, write


def package() -> bytes:
    file, picture = io.BytesIO(), io.BytesIO()
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(picture, format="PNG")
    with tarfile.open(fileobj=file, mode="w:gz") as made:
        for name in (
            "img/google/64/1f600.png",
            "img/google/64/notes.txt",
            "img/google/../../../../out.png",
            "other.png",
        ):
            member = tarfile.TarInfo(f"package/{name}")
            member.size = picture.tell()
            made.addfile(member, io.BytesIO(picture.getvalue()))
    return file.getvalue()


def test_the_pictures_of_one_folder(tmp_path: Path) -> None:
    assert write(package(), tmp_path / "new" / "emoji") == 1
    (only,) = (tmp_path / "new").rglob("*.png")
    with Image.open(only) as picture:
        assert (only.name, picture.mode, picture.getpixel((0, 0))) == ("1f600.png", "RGB", (255, 255, 255))


def test_another_package_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "package.tgz"
    file.write_bytes(package())
    right = base64.b64encode(hashlib.sha512(package()).digest()).decode()
    with pytest.raises(SystemExit, match="Nothing was written"):
        fetch(file.as_uri())
    with pytest.raises(SystemExit, match="expected nonsense"):
        fetch(file.as_uri(), "nonsense")
    assert len(right) == 88
