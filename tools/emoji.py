"""Fetch 64 x 64 colour pictures to train on: Google's emoji, from the npm package emoji-datasource-google.

    python -m tools.emoji emoji
    gencore train dcgan --data emoji --image-size 64 --out runs/emoji

The pictures are Google's (Apache 2.0, as the package states) and no part of gencore. Transparency becomes white.
"""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import tarfile
import urllib.request
from pathlib import Path, PurePosixPath

from PIL import Image

PACKAGE = "https://registry.npmjs.org/emoji-datasource-google/-/emoji-datasource-google-16.0.0.tgz"
SHA512 = "ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A=="
PICTURES = PurePosixPath("package/img/google/64")


def fetch(address: str = PACKAGE, sha512: str = SHA512) -> bytes:
    """The package's bytes. Raises SystemExit where they are not those that were looked at."""
    with urllib.request.urlopen(address) as answer:
        content: bytes = answer.read()
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != sha512:
        raise SystemExit(f"{address} has sha512 {found}; expected {sha512}. Nothing was written.")
    return content


def write(package: bytes, folder: Path) -> int:
    """The package's pictures into a new folder, by their own names; how many."""
    folder.mkdir(parents=True)
    count = 0
    with tarfile.open(fileobj=io.BytesIO(package)) as opened:
        for member in opened:
            path = PurePosixPath(member.name)
            file = opened.extractfile(member) if member.isfile() and path.parent == PICTURES else None
            if file is not None and path.suffix == ".png":
                picture = Image.open(file).convert("RGBA")
                white = Image.new("RGBA", picture.size, "white")
                Image.alpha_composite(white, picture).convert("RGB").save(folder / path.name)
                count += 1
    return count


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("Usage: python -m tools.emoji FOLDER")
    sys.stdout.write(f"Wrote {write(fetch(), Path(sys.argv[1]))} pictures.\n")
