"""Pictures of the zoo: cut trainings, what is drawn, and how many bytes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

import gencore
from gencore.registry import list_systems
from tools import zoo, zoo_pictures
from tools.zoo_pictures import LARGEST, packed, spectrograms, tiles, written


def test_every_stage_is_cut() -> None:
    recipe = gencore.recipe("gan-cls")
    made = zoo_pictures.cut(recipe, [3, 4])
    assert [stage.steps for stage in made.stages] == [3, 4]
    assert made.config == recipe.config


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_no_picture_is_larger_than_promised(mode: str) -> None:
    channels = 1 if mode == "L" else 3
    noise = torch.randint(0, 256, (400, 400, channels), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    picture = Image.fromarray(noise.squeeze().numpy())
    content = packed(picture)
    assert len(content) <= LARGEST
    with Image.open(io.BytesIO(content)) as opened:
        assert len(opened.convert("RGB").getcolors(65536) or []) > 2


def test_small_pictures_are_enlarged_without_new_greys() -> None:
    with Image.open(io.BytesIO(packed(Image.fromarray(torch.tensor([[0, 90]], dtype=torch.uint8).numpy())))) as opened:
        assert opened.size == (256, 128)
        assert {value for _, value in opened.convert("L").getcolors()} == {0, 90}


def test_a_tone_is_one_line_of_its_spectrogram() -> None:
    """A frequency of 16 of the 64 bands: the brightest row is the 16th from below."""
    wave = torch.sin(2 * torch.pi * 16 / 128 * torch.arange(2048))
    (picture,) = spectrograms(wave[None])
    assert picture.shape[1] == 64
    assert (63 - picture[0].mean(1).argmax()).item() == 16
    assert picture.aminmax() == (-1.0, 1.0)


def test_tiles_show_each_example_from_its_least_to_its_greatest() -> None:
    shown = tiles(torch.tensor([[[1.0, 2.0], [3.0, 5.0]], [[0.0, 0.0], [0.0, 10.0]]]))
    torch.testing.assert_close(shown[:, 0], torch.tensor([[[-1.0, -0.5], [0.0, 1.0]], [[-1.0, -1.0], [-1.0, 1.0]]]))
    assert tiles(torch.rand(3, 7)).shape == (3, 1, 1, 7)


def test_text_is_drawn() -> None:
    assert written(["dogs eat meat", ""]).size == (400, 24)
    assert min(written(["dogs eat meat"]).getextrema()) < 60


def test_the_page_names_systems_by_family_use_and_year() -> None:
    specs = [spec for spec in list_systems() if spec.name in ("vae", "ddpm", "cyclegan")]
    text = zoo.page(specs, [], {"vae": {"shows": "samples", "steps": 7, "of": 4000}})
    assert "![vae](images/zoo/vae.png)<br>**vae**: samples; 7 of 4000 steps" in text
    assert "images/zoo/ddpm.png" not in text
    assert "- **Changes one picture into another**: [cyclegan](#translation)\n" in text
    assert text.index("- **2014**") < text.index("- **2017**") < text.index("- **2020**")


def test_the_strip_needs_all_of_its_pictures(tmp_path: Path) -> None:
    """Side by side, in the order of the names, each over its own name."""
    Image.new("RGB", (60, 40), "red").save(tmp_path / "a.png")
    assert zoo_pictures.strip(tmp_path, ("a", "b")) is None
    Image.new("L", (30, 30), 0).save(tmp_path / "b.png")
    row = zoo_pictures.strip(tmp_path, ("a", "b"))
    assert row is not None
    assert row.size == (2 * 136, 152)
    assert (row.getpixel((60, 60)), row.getpixel((200, 60))) == ((255, 0, 0), (0, 0, 0))
    assert all(name in {spec.name for spec in list_systems()} for name in zoo_pictures.STRIP)
