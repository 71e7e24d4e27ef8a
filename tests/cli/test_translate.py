"""gencore translate: what a file holds is kept, tiles equal the whole, nothing is overwritten, scores are right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor
from typer.testing import CliRunner

import gencore
from gencore.cli.app import app
from gencore.data.whole import Whole, png, read_whole
from gencore.errors import GencoreError
from gencore.evaluation.fidelity import luma, psnr, ssim
from gencore.tiling import Tiling, spans, tiles, translated_tiles
from gencore.translating import Translator

Run = Callable[..., str]


@pytest.fixture
def run() -> Run:
    def command(*words: object, fails: bool = False) -> str:
        result = CliRunner().invoke(app, ["translate", *map(str, words)])
        assert (result.exit_code != 0) == fails, result.output
        return str(result.exception) if fails else result.output

    return command


@pytest.fixture(scope="module")
def enlarger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ESRGAN that doubles pictures, with random weights."""
    folder = tmp_path_factory.mktemp("models") / "enlarger"
    torch.manual_seed(0)
    gencore.create("esrgan", width=6, growth=3, blocks=1).save_pretrained(folder)
    return folder


class Same:
    """A translator that returns what it gets, `scale` times as large."""

    def __init__(self, channels: int = 3, scale: int = 1, made: int | None = None) -> None:
        self.config = dataclasses.make_dataclass("Config", ["input_shape", "data_shape"])(
            (channels, 8, 8), (made or channels, 8, 8)
        )
        self.scale, self.tiling, self.seen = scale, Tiling(reach=2), 0

    def translate(self, x: Tensor) -> Tensor:
        self.seen += 1
        made = x.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)
        return made.expand(-1, self.config.data_shape[0], -1, -1)


def through(file: Path, model: Any, tile: int = 0) -> Whole:
    translator = Translator(model, to=None, tile=tile, overlap=None, channels=model.config.input_shape[0])
    return translator(file)[0]


def noise(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_round_trip(tmp_path: Path, samples: int, dtype: Any) -> None:
    """Against Pillow for 8 bits; our own reader, which reads what Pillow drops, for 16."""
    pixels, file = noise(5, 7, samples, dtype=dtype), tmp_path / "a.png"
    alpha = pixels[..., -1] if samples in (2, 4) else None
    file.write_bytes(png(Whole(colours=pixels[..., : samples - (alpha is not None)], alpha=alpha)))
    read = read_whole(file)
    assert read.colours.dtype == dtype
    assert np.array_equal(read.colours, pixels[..., : read.colours.shape[2]])
    assert alpha is None or np.array_equal(read.alpha, alpha)
    with Image.open(file) as image:
        image.verify()
    if dtype is np.uint8:
        with Image.open(file) as image:
            assert np.array_equal(np.asarray(image).reshape(5, 7, samples), pixels)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tile", [0, 4])
def test_what_a_file_holds_is_kept(tmp_path: Path, samples: int, dtype: Any, tile: int) -> None:
    """By a translator that changes nothing: every sample, whatever mode and depth, whole and in tiles."""
    pixels, file = noise(9, 14, samples, dtype=dtype), tmp_path / "a.png"
    alpha = pixels[..., -1] if samples in (2, 4) else None
    colours = pixels[..., :1] if samples < 3 else pixels[..., :3]
    file.write_bytes(png(Whole(colours=colours, alpha=alpha, profile=b"a profile")))
    made = through(file, Same(1 if samples < 3 else 3), tile)
    assert made.colours.dtype == dtype
    assert np.array_equal(made.colours, colours)
    assert (made.alpha is None) == (alpha is None)
    assert alpha is None or np.array_equal(made.alpha, alpha)
    assert made.profile == b"a profile"


@pytest.mark.parametrize("turn", range(1, 9))
def test_pictures_are_upright(tmp_path: Path, turn: int) -> None:
    """As Pillow's own exif_transpose turns them."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = turn
    file = tmp_path / "a.png"
    Image.fromarray(noise(4, 6, 3)).save(file, exif=exif)
    with Image.open(file) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_whole(file).colours, upright)


def test_a_profile_goes_along_or_is_applied(tmp_path: Path) -> None:
    """It stays where the colours do; where they become grey, the grey is that of the picture in sRGB."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    file = tmp_path / "a.png"
    Image.fromarray(noise(4, 4, 3)).save(file, icc_profile=profile)
    assert read_whole(file, 3).profile == profile
    with pytest.warns(UserWarning, match="colour profile"):
        assert read_whole(file, 1).profile is None
    out = tmp_path / "b.png"
    out.write_bytes(png(read_whole(file)))
    with Image.open(out) as image:
        assert image.info["icc_profile"] == profile


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"])
def test_every_mode_is_read(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(noise(4, 6, 3))
    picture = Image.fromarray(noise(4, 6, dtype=np.uint16)) if mode == "I;16" else picture.convert(mode)
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.save(file)
    for channels in (1, 3):
        read = read_whole(file, channels)
        assert read.colours.shape == (4, 6, channels)
        assert read.colours.dtype == (np.uint16 if mode == "I;16" else np.uint8)
        assert (read.alpha is not None) == mode.endswith("A")


def test_a_network_of_one_channel_leaves_colours_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    pixels = noise(6, 8, 3)
    Image.fromarray(pixels).save(file)
    made = through(file, Same(1)).colours.astype(int)
    assert np.abs(made - pixels).max() <= 1
    assert through(file, Same(1, made=3)).colours.std(2).max() == 0
    assert through(file, Same(1, scale=3)).colours.shape == (18, 24, 3)


def test_alpha_is_enlarged_with_the_picture(tmp_path: Path) -> None:
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:, 4:] = 255
    file = tmp_path / "a.png"
    file.write_bytes(png(Whole(colours=noise(8, 8, 3), alpha=alpha)))
    made = through(file, Same(scale=2))
    assert made.alpha is not None
    assert made.alpha.shape == (16, 16)
    assert made.alpha[:, :6].max() == 0
    assert made.alpha[:, 10:].min() == 255


def test_animations_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(4, 4, seed=k)) for k in range(2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(GencoreError, match="2 frames"):
        read_whole(tmp_path / "a.gif")


@pytest.mark.parametrize(("size", "tile", "stride"), [(10, 4, 1), (10, 4, 4), (3, 8, 2), (17, 5, 3), (9, 1, 4)])
def test_spans_cover_once(size: int, tile: int, stride: int) -> None:
    found = spans(size, tile, Tiling(reach=3, stride=stride))
    assert [place for span in found for place in range(span.start, span.stop)] == list(range(size))
    for span in found:
        assert span.start % stride == span.first % stride == 0
        assert span.first <= max(0, span.start - 3)
        assert span.last >= min(size, span.stop + 3)


@pytest.mark.parametrize(
    ("system", "config"),
    [
        ("esrgan", {"width": 6, "growth": 3, "blocks": 1}),
        ("esrgan", {"width": 6, "growth": 3, "blocks": 1, "scale": 4}),
        ("srgan", {"width": 6, "blocks": 1}),
        ("srgan", {"width": 6, "blocks": 1, "scale": 3}),
        ("id-cgan", {"width": 6, "blocks": 1}),
        ("pix2pix", {"width": 6, "depth": 2, "norm": "batch"}),
    ],
)
def test_tiles_equal_the_whole(system: str, config: dict[str, Any]) -> None:
    """In float64, of an odd size, with tiles far smaller than the picture; a reach that is too small does not do."""
    torch.manual_seed(0)
    model: Any = gencore.create(system, **config).eval().double()
    x = torch.rand(3, 95, 133, dtype=torch.float64) * 2 - 1

    def patched(tiling: Tiling) -> Tensor:
        pieces = list(translated_tiles(lambda part: model.translate(part), x, tiles(x, 24, tiling)))
        assert len(pieces) == 24
        canvas = torch.full((3, pieces[0][0] * 95, pieces[0][0] * 133), torch.nan, dtype=torch.float64)
        for _, top, left, piece in pieces:
            canvas[:, top : top + piece.shape[1], left : left + piece.shape[2]] = piece
        return canvas

    with torch.no_grad():
        whole = model.translate(x[None])[0]
        torch.testing.assert_close(patched(model.tiling), whole, rtol=0, atol=1e-12)
        assert (patched(dataclasses.replace(model.tiling, reach=0)) - whole).abs().max() > 1e-6


def test_models_that_look_at_the_whole_are_not_cut() -> None:
    model: Any = gencore.create("pix2pix", width=4, norm="instance")
    assert model.tiling is None
    assert len(tiles(torch.zeros(3, 70, 50), 16, None)) == 1
    with pytest.raises(GencoreError, match="whole picture"):
        Translator(model, to=None, tile=16, overlap=4, channels=3)


def test_a_folder_is_translated_under_its_names(run: Run, enlarger: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    for name, size in (("a.jpg", (9, 12)), ("deep/b.png", (20, 7)), ("c.webp", (5, 5))):
        Image.fromarray(noise(*size, 3)).save(source / name)
    assert "Wrote 3 pictures" in run(enlarger, source, "-o", out)
    made = {file.relative_to(out).as_posix(): file for file in out.rglob("*.png")}
    assert sorted(made) == ["a.png", "c.png", "deep/b.png"]
    with Image.open(made["deep/b.png"]) as image:
        assert image.size == (14, 40)
    before = made["a.png"].stat().st_mtime_ns
    assert "exists already (3 in all)" in run(enlarger, source, "-o", out, fails=True)
    made["c.png"].unlink()
    assert "Wrote 1 pictures" in run(enlarger, source, "-o", out, "--skip-existing")
    assert made["a.png"].stat().st_mtime_ns == before
    Image.fromarray(noise(4, 4, 3)).save(source / "a.png")
    assert "would both become" in run(enlarger, source, "-o", out, fails=True)


def test_tiles_of_the_command_are_the_whole_picture(run: Run, enlarger: Path, tmp_path: Path) -> None:
    Image.fromarray(noise(70, 83, 3)).save(tmp_path / "a.png")
    run(enlarger, tmp_path / "a.png", "-o", tmp_path / "whole.png", "--tile", 0)
    run(enlarger, tmp_path / "a.png", "-o", tmp_path / "tiles.png", "--tile", 20)
    whole, parts = (read_whole(tmp_path / f"{name}.png").colours.astype(int) for name in ("whole", "tiles"))
    assert np.abs(whole - parts).max() <= 1
    assert np.mean(whole != parts) < 1e-3


def test_bad_words_are_refused(run: Run, enlarger: Path, tmp_path: Path) -> None:
    Image.fromarray(noise(6, 6, 3)).save(tmp_path / "a.png")
    a, out = tmp_path / "a.png", tmp_path / "o.png"
    assert "does not exist" in run(enlarger, tmp_path / "none.png", "-o", out, fails=True)
    assert "ends in .png" in run(enlarger, a, "-o", tmp_path / "o.jpg", fails=True)
    assert "--tile is -1" in run(enlarger, a, "-o", out, "--tile", "-1", fails=True)
    assert "to is 'b'" in run(enlarger, a, "-o", out, "--to", "b", fails=True)
    assert "expected a folder" in run(enlarger, a, "-o", out, "--targets", tmp_path / "none", fails=True)
    (tmp_path / "empty").mkdir()
    assert "no pictures" in run(enlarger, tmp_path / "empty", "-o", tmp_path / "out", fails=True)
    assert "no picture called" in run(enlarger, a, "-o", out, "--targets", tmp_path / "empty", fails=True)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert "cannot be read" in run(enlarger, tmp_path / "broken.png", "-o", out, fails=True)
    assert not out.exists()


def test_a_direction_is_a_domain_in_other_words(run: Run, tmp_path: Path) -> None:
    """a-to-b is --to b, which is also what is done where nothing is said; both at once are refused."""
    torch.manual_seed(0)
    gencore.create("cyclegan", data_shape=(3, 8, 8), width=2, critic_width=2).save_pretrained(tmp_path / "model")
    a = tmp_path / "a.png"
    Image.fromarray(noise(6, 6, 3)).save(a)
    words = {
        "default": (),
        "to a": ("--to", "a"),
        "a-to-b": ("--direction", "a-to-b"),
        "b-to-a": ("--direction", "b-to-a"),
    }
    made = {}
    for name, further in words.items():
        run(tmp_path / "model", a, "-o", tmp_path / f"{name}.png", *further)
        made[name] = read_whole(tmp_path / f"{name}.png").colours
    assert np.array_equal(made["a-to-b"], made["default"])
    assert np.array_equal(made["b-to-a"], made["to a"])
    assert not np.array_equal(made["a-to-b"], made["b-to-a"])
    both = ("--to", "a", "--direction", "b-to-a")
    assert "expected one of the two" in run(tmp_path / "model", a, "-o", tmp_path / "o.png", *both, fails=True)


def test_scores_are_printed(run: Run, enlarger: Path, tmp_path: Path) -> None:
    source, true = tmp_path / "in", tmp_path / "true"
    source.mkdir()
    true.mkdir()
    Image.fromarray(noise(20, 20, 3)).save(source / "a.png")
    truth = noise(40, 40, 3, seed=1)
    Image.fromarray(truth).save(true / "a.png")
    out = run(enlarger, source, "-o", tmp_path / "out", "--targets", true)
    made = read_whole(tmp_path / "out" / "a.png").colours
    pair = [torch.from_numpy(p.astype(np.float64)).permute(2, 0, 1)[None, :, 2:-2, 2:-2] for p in (made, truth)]
    expected = f"{psnr(luma(pair[0]), luma(pair[1])):9.2f}  {ssim(luma(pair[0]), luma(pair[1])):.4f}"
    assert out.count(expected) == 2
    assert "on Y, border cut: the scale" in out
    out = run(enlarger, source, "-o", tmp_path / "rgb", "--targets", true, "--space", "rgb", "--border", 0)
    error = (made.astype(float) - truth) ** 2
    assert f"{10 * np.log10(255**2 / error.mean()):9.2f}" in out
    Image.fromarray(truth[:30]).save(true / "a.png")
    assert "expected one size" in run(enlarger, source, "-o", tmp_path / "x", "--targets", true, fails=True)


def test_luma_psnr_and_ssim_by_hand() -> None:
    """White is 235 and black 16; one level off everywhere is 48.13 dB; SSIM of flat pictures is its first factor."""
    white = torch.full((1, 3, 12, 12), 255.0)
    assert luma(white).unique().tolist() == pytest.approx([235], abs=1e-3)
    assert luma(0 * white).unique().tolist() == [16]
    assert luma(torch.tensor([255.0, 0, 0]).view(1, 3, 1, 1)).item() == pytest.approx(16 + 65.481)
    assert psnr(white, white - 1) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(white, white) == float("inf")
    a, b, c = 200.0, 100.0, (0.01 * 255) ** 2
    flat = [torch.full((1, 1, 12, 12), value) for value in (a, b)]
    assert ssim(*flat) == pytest.approx((2 * a * b + c) / (a * a + b * b + c))
    x = torch.rand(1, 1, 20, 20) * 255
    assert ssim(x, x) == pytest.approx(1)
    with pytest.raises(GencoreError, match="11 or more"):
        ssim(x[..., :10], x[..., :10])


def test_ssim_against_scipy() -> None:
    """The same formula with scipy's Gaussian filter."""
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(0)
    x = generator.uniform(0, 255, (24, 31))
    y = np.clip(x + generator.normal(0, 30, x.shape), 0, 255)

    def mean(z: Any) -> Any:
        return gaussian_filter(z, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

    a, b = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    expected = ((2 * mx * my + a) * (2 * vxy + b) / ((mx**2 + my**2 + a) * (vx + vy + b))).mean()
    assert ssim(*(torch.from_numpy(z)[None, None] for z in (x, y))) == pytest.approx(expected, rel=1e-9)
