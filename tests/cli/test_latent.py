"""`gencore walk` and `gencore map`, through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import gencore
from gencore.cli.latent import register
from gencore.errors import GencoreError


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)
    register(made)
    return made


@pytest.fixture
def autoencoder(tmp_path: Path) -> str:
    gencore.create("deep-autoencoder", hidden=[8], code_dim=2, data_shape=[1, 8, 8]).save_pretrained(tmp_path / "ae")
    return str(tmp_path / "ae")


def run(app: typer.Typer, *words: object) -> str:
    """What the command says. Its errors come through."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("options", [(), ("--path", "slerp"), ("--plane",)])
def test_walk_writes_a_grid(app: typer.Typer, autoencoder: str, tmp_path: Path, options: tuple) -> None:
    out = tmp_path / "walk.png"
    rows = () if "--plane" in options else ("--rows", 5)
    said = run(app, "walk", autoencoder, *rows, "--steps", 5, "-o", out, *options)
    assert "5 rows of 5" in said
    with Image.open(out) as image:
        assert image.size == (5 * 10 + 2, 5 * 10 + 2)


def test_walk_without_an_encoder_starts_from_the_prior(app: typer.Typer, tmp_path: Path) -> None:
    gencore.create("gan", hidden=[8]).save_pretrained(tmp_path / "gan")
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    for out, seed in ((first, 0), (second, 1)):
        run(app, "walk", tmp_path / "gan", "--rows", 2, "--steps", 3, "--seed", seed, "-o", out)
    assert first.read_bytes() != second.read_bytes()


@pytest.mark.parametrize("method", ["code", "pca", "tsne"])
def test_map_writes_a_picture(app: typer.Typer, autoencoder: str, tmp_path: Path, method: str) -> None:
    out = tmp_path / "map.png"
    assert "Wrote 60 codes" in run(app, "map", autoencoder, "--method", method, "-n", 60, "-o", out)
    with Image.open(out) as image:
        assert image.size == (800, 800)
        assert len(image.getcolors(100_000)) > 10, "ten classes in colour"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("walk", "-o", "walk.jpg"), "png"),
        (("walk", "--steps", 1), "--steps"),
        (("map", "-o", "map.gif"), "png"),
        (("map", "-n", 0), "limit"),
        (("map", "--data", "no-such-data"), "no-such-data"),
    ],
)
def test_bad_options_are_named(app: typer.Typer, autoencoder: str, words: tuple, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        run(app, words[0], autoencoder, *words[1:])


def test_map_needs_an_encoder(app: typer.Typer, tmp_path: Path) -> None:
    gencore.create("gan", hidden=[8]).save_pretrained(tmp_path / "gan")
    with pytest.raises(GencoreError, match="no encoder"):
        run(app, "map", tmp_path / "gan")


def test_walk_moves_in_a_gif_and_along_a_number(app: typer.Typer, autoencoder: str, tmp_path: Path) -> None:
    run(app, "walk", autoencoder, "--rows", 2, "--steps", 4, "-o", tmp_path / "walk.gif")
    with Image.open(tmp_path / "walk.gif") as image:
        assert image.n_frames == 6
        assert image.size == (2 * 10 + 2, 10 + 2)
    said = run(app, "walk", autoencoder, "--along", 1, "--along", 0, "--steps", 3, "-o", tmp_path / "along.png")
    assert "2 rows of 3" in said
    with pytest.raises(GencoreError, match="expected one of them"):
        run(app, "walk", autoencoder, "--along", 1, "--plane")
    with pytest.raises(GencoreError, match="0 to 1"):
        run(app, "walk", autoencoder, "--along", 2)


def test_map_draws_pictures(app: typer.Typer, autoencoder: str, tmp_path: Path) -> None:
    for name, options in (("dots.png", ()), ("pictures.png", ("--pictures",))):
        run(app, "map", autoencoder, "-n", 60, *options, "-o", tmp_path / name)
    assert (tmp_path / "dots.png").read_bytes() != (tmp_path / "pictures.png").read_bytes()


def test_a_code_that_the_encoder_reads_in_part_is_walked_from_the_prior(app: typer.Typer, tmp_path: Path) -> None:
    """InfoGAN's encoder reads 12 numbers of 14; 10 and 11 are those in [-1, 1]."""
    gencore.create("infogan", hidden=[8], latent_dim=2).save_pretrained(tmp_path / "info")
    said = run(app, "walk", tmp_path / "info", "--along", 10, "--along", 11, "--steps", 3, "-o", tmp_path / "a.png")
    assert "2 rows of 3" in said
    run(app, "walk", tmp_path / "info", "--rows", 2, "--steps", 3, "-o", tmp_path / "b.png")


def test_a_walk_from_codes_of_a_file(app: typer.Typer, tmp_path: Path) -> None:
    """From each code to the next; along a number from the first one."""
    gencore.create("gan", hidden=[8], latent_dim=3).save_pretrained(tmp_path / "gan")
    np.save(tmp_path / "codes.npy", np.random.default_rng(0).normal(size=(3, 3)).astype("float32"))
    given = ("walk", tmp_path / "gan", "--codes", tmp_path / "codes.npy", "--steps", 4, "-o", tmp_path / "walk.png")
    assert "2 rows of 4" in run(app, *given)
    assert "1 rows of 4" in run(app, *given, "--along", 2)
    for wrong, message in (
        (np.zeros((1, 3)), "2 codes or more"),
        (np.zeros((3, 4)), "4 numbers"),
        (np.zeros(3), "N, D"),
    ):
        np.save(tmp_path / "codes.npy", wrong.astype("float32"))
        with pytest.raises(GencoreError, match=message):
            run(app, *given)
    with pytest.raises(GencoreError, match="--codes"):
        run(app, *given, "--plane")


def test_walks_of_a_model_that_takes_a_class(app: typer.Typer, tmp_path: Path) -> None:
    """Of each class in turn or of one; one code under several classes; along a number."""
    gencore.create("cgan", hidden=[8]).save_pretrained(tmp_path / "cgan")
    made = {}
    for name, options in (
        ("in turn", ("--rows", 2, "--steps", 4)),
        ("seven", ("--rows", 2, "--steps", 4, "--label", 7)),
        ("eight", ("--rows", 2, "--steps", 4, "--label", 8)),
        ("classes", ("--rows", 2, "--classes", "7,8,0")),
        ("along", ("--steps", 4, "--along", 1, "--along", 0, "--label", 7)),
    ):
        out = tmp_path / f"{name}.png"
        said = run(app, "walk", tmp_path / "cgan", "-o", out, *options)
        assert f"2 rows of {3 if name == 'classes' else 4}" in said
        made[name] = out.read_bytes()
    assert len(set(made.values())) == len(made)
    with pytest.raises(GencoreError, match="expected a number from 0 to 9"):
        run(app, "walk", tmp_path / "cgan", "--classes", "7,11")
    with pytest.raises(GencoreError, match="--classes is given beside --label"):
        run(app, "walk", tmp_path / "cgan", "--classes", "7,8", "--label", 1)
    with pytest.raises(GencoreError, match="--steps has no meaning beside --classes"):
        run(app, "walk", tmp_path / "cgan", "--classes", "7,8", "--steps", 3)
    with pytest.raises(GencoreError, match="--plane is given beside --label"):
        run(app, "walk", tmp_path / "cgan", "--plane", "--label", 1)


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        (("--plane", "--rows", 3, "--seed", 1), "--rows, --seed has no meaning beside --plane"),
        (("--along", 0, "--path", "lerp"), "--path has no meaning beside --along"),
        (("--codes", "codes.npy", "--data", "digits"), "--data has no meaning beside --codes"),
    ],
)
def test_what_a_walk_would_leave_out_is_refused(app: typer.Typer, autoencoder: str, words: tuple, unused: str) -> None:
    with pytest.raises(GencoreError, match=unused):
        run(app, "walk", autoencoder, *words)


def test_from_pictures_of_one_class_to_those_of_another(app: typer.Typer, autoencoder: str, tmp_path: Path) -> None:
    """Other classes, another picture; two of them, and labelled data."""
    for classes in ("3,7", "7,3"):
        run(
            app, "walk", autoencoder, "--rows", 2, "--steps", 3, "--classes", classes, "-o", tmp_path / f"{classes}.png"
        )
    assert (tmp_path / "3,7.png").read_bytes() != (tmp_path / "7,3.png").read_bytes()
    with pytest.raises(GencoreError, match="expected two classes of labelled data"):
        run(app, "walk", autoencoder, "--classes", "1,2,3")
    with pytest.raises(GencoreError, match="takes no labels"):
        run(app, "walk", autoencoder, "--label", 1)
