"""`gencore edit`: a picture's code moved along a direction, and how much that changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import gencore
from gencore.cli.app import app
from gencore.data import digits
from gencore.data.images import read_image, to_pil
from gencore.errors import GencoreError
from gencore.latent.codes import mean_of
from tests.cli.running import run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "vae"
    gencore.create("vae", data_shape=[1, 8, 8], hidden=[16], latent_dim=3).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pictures") / "a.png"
    to_pil(digits("test").x[0]).save(file)
    return file


def row(file: Path, number: int) -> list[torch.Tensor]:
    """The pictures of a row of a grid of 8 x 8."""
    top = 2 + 10 * number
    strip = read_image(file)[:, top : top + 8, 2:]
    return [strip[..., left : left + 8] for left in range(0, strip.shape[-1] - 2, 10)]


def test_along_a_number_of_the_code(model: Path, picture: Path, tmp_path: Path) -> None:
    """Without a search, the code is the encoder's: what the command draws can be worked out."""
    out = tmp_path / "edited.png"
    words = ("--along", 1, "--reach", 2, "--frames", 3, "--steps", 0)
    said = run(app, "edit", model, picture, *words, "-o", out)
    loaded = gencore.from_pretrained(model)
    x = read_image(picture)[None]
    with torch.no_grad():
        z = loaded.encode(x).mean
        moved = z + torch.tensor([[0.0, -2, 0], [0, 0, 0], [0, 2, 0]])
        made = loaded.generate(moved)
        made = mean_of(made)
    expected = torch.stack([x[0], made[1], *made]).clamp(-1, 1)
    for drawn, wanted in zip(row(out, 0), expected, strict=True):
        torch.testing.assert_close(drawn, wanted, atol=0.01, rtol=0)
    for drawn, wanted in zip(row(out, 1), expected, strict=True):
        torch.testing.assert_close(drawn, (wanted - expected[1]) / 2, atol=0.02, rtol=0)
    assert "PSNR" in said


def test_towards_a_class_and_by_a_list(model: Path, picture: Path, tmp_path: Path) -> None:
    """A list that says what the data's own labels say gives the same picture; another list another one."""
    by_label, by_list, by_other = (tmp_path / f"{name}.png" for name in "abc")
    classes = digits("test").label.tolist()
    for name, shift in (("same.csv", 0), ("other.csv", 1)):
        lines = [f"{k},{(kind + shift) % 10}" for k, kind in enumerate(classes)]
        (tmp_path / name).write_text("file_name,label\n" + "\n".join(lines) + "\n")
    words = ("edit", model, picture, "--plus", 3, "--minus", 8, "--steps", 0)
    run(app, *words, "-o", by_label)
    run(app, *words, "--labels", tmp_path / "same.csv", "-o", by_list)
    run(app, *words, "--labels", tmp_path / "other.csv", "-o", by_other)
    assert by_label.read_bytes() == by_list.read_bytes() != by_other.read_bytes()


def test_no_direction_shows_the_picture_and_its_code(model: Path, picture: Path, tmp_path: Path) -> None:
    run(app, "edit", model, picture, "--steps", 1, "-o", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (22, 22)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--along", 3), "0 to 2"),
        (("--along", 1, "--plus", 3), "expected one of them"),
        (("--minus", 3), "no --plus"),
        (("--plus", "cat"), "the classes are 0, 1"),
        (("--frames", 1), "--frames"),
        (("-o", "x.gif"), "png"),
        (("--plus", 3, "--labels", "none.csv"), "does not exist"),
    ],
)
def test_bad_options_are_named(model: Path, picture: Path, words: tuple, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        run(app, "edit", model, picture, "--steps", 0, *words)
