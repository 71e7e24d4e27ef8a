"""Image files that vanish or are damaged while a training reads them, and what is no file: errors that name it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gencore.data import image_folder
from gencore.data.decode import UnreadableImageError
from gencore.errors import GencoreError
from gencore.training import checkpoint
from gencore.training.run import RunSettings, train


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(32):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def run(pictures: Path, out: Path, **changes: Any) -> None:
    sizes = ("width=4", "latent_dim=4")
    settings = {"system": "dcgan", "data": str(pictures), "steps": 40, "batch_size": 8, "set": sizes}
    options = settings | {"checkpoint_every": 2, "sample_every": 1000, "log_every": 100} | changes
    train(RunSettings(**options), out, resume=(out / "run.json").exists(), quiet=True)


@pytest.mark.parametrize("harm", ["vanished", "cut short", "not an image"])
def test_a_file_goes_bad_in_mid_epoch(
    harm: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, original = pictures / "07.png", (pictures / "07.png").read_bytes()
    write = checkpoint.write

    def strike(*arguments: Any, **options: Any) -> Path:
        if harm == "vanished":
            victim.unlink(missing_ok=True)
        else:
            victim.write_bytes(original[:60] if harm == "cut short" else b"<!DOCTYPE html>")
        return write(*arguments, **options)

    monkeypatch.setattr(checkpoint, "write", strike)
    out = tmp_path / "run"
    with pytest.raises(GencoreError, match=r"07\.png"):
        run(pictures, out)
    last = checkpoint.checkpoints(out / "checkpoints")[-1]
    assert 0 < checkpoint.read(last).values["step"] < 40
    monkeypatch.undo()
    victim.write_bytes(original)
    run(pictures, out)
    run(pictures, tmp_path / "whole")
    ends = [checkpoint.checkpoints(folder / "checkpoints")[-1] for folder in (out, tmp_path / "whole")]
    first, second = ((end / "state.safetensors").read_bytes() for end in ends)
    assert first == second, "put back, the run goes on to the bits of the one that never saw the harm"


def test_a_corrupt_image_from_the_start(pictures: Path, tmp_path: Path) -> None:
    """Named with its reason; --skip-corrupt leaves it out, and says so."""
    (pictures / "07.png").write_bytes((pictures / "07.png").read_bytes()[:60])
    with pytest.raises(GencoreError, match=r"07\.png"):
        run(pictures, tmp_path / "strict")
    with pytest.warns(UserWarning, match="1 of 32 images left out"):
        run(pictures, tmp_path / "lenient", skip_corrupt=True, steps=2)


def odd_files(folder: Path) -> set[str]:
    """One good picture, and what is no file that can be read; the names of those."""
    Image.new("L", (4, 4), 200).save(folder / "good.png")
    os.mkfifo(folder / "fifo.png")
    server = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(folder)  # a socket's path may have 108 bytes
    server.bind("socket.png")
    os.chdir(here)
    server.close()
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "folder.png").mkdir()
    return {"fifo.png", "socket.png", "zero.png", "dangling.png", "circle.png"}


@pytest.mark.timeout(60)
def test_what_is_no_file_is_named_and_skipped_and_never_waited_for(tmp_path: Path) -> None:
    odd = odd_files(tmp_path)
    with pytest.raises(UnreadableImageError) as caught:
        image_folder(tmp_path)
    assert all(name in str(caught.value) for name in odd)
    with pytest.warns(UserWarning, match="5 of 6 images left out") as warned:
        source = image_folder(tmp_path, skip_corrupt=True)
    assert [path.name for path in source.paths] == ["good.png"]
    said = str(warned[0].message)
    for name, reason in {
        "fifo": "is a FIFO",
        "socket": "is a socket",
        "zero": "is a device",
        "dangling": "leads nowhere",
        "circle": "or in a circle",
    }.items():
        assert any(f"{name}.png" in line and reason in line for line in said.splitlines()), (name, said)


@pytest.mark.timeout(60)
def test_a_picture_that_becomes_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 200).save(tmp_path / "a.png")
    source = image_folder(tmp_path)
    (tmp_path / "a.png").unlink()
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match="is a FIFO"):
        source.fetch(torch.tensor([0]))


READER = """
import os, sys, warnings, pathlib
from gencore.data import image_folder
from gencore.data.sources.listing import suffixes
suffixes()
warnings.simplefilter("always")
if os.geteuid() == 0:
    os.setuid(65534)
for skip in (False, True):
    try:
        print(f"\\n{skip}", [path.name for path in image_folder(pathlib.Path(sys.argv[1]), skip_corrupt=skip).paths])
    except ValueError as error:
        print(f"\\n{skip}", type(error).__name__, error)
"""


@pytest.mark.timeout(120)
def test_what_another_user_may_not_read(tmp_path: Path) -> None:
    """A file and a folder without permission: named, and left out with skip_corrupt. As root, seen as another user."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for path in ("good.png", "secret.png", "closed/a.png"):
            (folder / path).parent.mkdir(exist_ok=True)
            Image.new("L", (4, 4), 200).save(folder / path)
            (folder / path).chmod(0o644)
        (folder / "secret.png").chmod(0)
        (folder / "closed").chmod(0)
        command = [sys.executable, "-c", READER, name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
        (folder / "closed").chmod(0o755)
    strict, lenient = done.stdout.split("\nTrue ")
    assert "closed" in strict or "secret.png" in strict, done.stderr
    assert lenient.strip() == "['good.png']"
    assert "secret.png: it may not be read" in done.stderr
    assert "closed: the folder cannot be listed (Permission denied)" in done.stderr
