"""`gencore invert` and `gencore anomaly`, through the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import gencore
from gencore.cli.inversion import register
from gencore.data.images import to_pil
from gencore.errors import GencoreError


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)
    register(made)
    return made


@pytest.fixture
def anogan(tmp_path: Path) -> str:
    torch.manual_seed(0)
    model = gencore.create("anogan", hidden=[16], latent_dim=3, search_steps=2)
    model.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def run(app: typer.Typer, *words: object) -> str:
    """What the command says. Its errors come through."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_picture_of_the_generators_own_is_found(app: typer.Typer, anogan: str, tmp_path: Path) -> None:
    """The codes generate what was asked for, up to the rounding of pixels; more steps come nearer."""
    model = gencore.from_pretrained(anogan)
    files = [tmp_path / f"{i}.png" for i in range(2)]
    for file, picture in zip(files, model.sample(2, seed=5), strict=True):
        to_pil(picture).save(file)
    said = run(
        app, "invert", anogan, *files, "--start", "prior", "--method", "lbfgs", "--steps", 60, "-o", tmp_path / "z.npy"
    )
    z = torch.from_numpy(np.load(tmp_path / "z.npy"))
    assert z.shape == (2, 3)
    assert said.count("PSNR") == 2
    with torch.no_grad():
        assert (model.generate(z) - model.sample(2, seed=5)).abs().max() < 0.03
    run(app, "invert", anogan, files[0], "--start", "prior", "--steps", 0, "-o", tmp_path / "start.npy")
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "start.npy")), model.draw_prior(gencore.Noise(0, 0, 1)))


def test_scores_beside_trivial_ones(app: typer.Typer, anogan: str, tmp_path: Path) -> None:
    said = run(app, "anomaly", anogan, "--normal", "0", "-o", tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 397
    x = gencore.data.digits("test").x
    scores = torch.tensor([float(row["score"]) for row in rows])
    model = gencore.from_pretrained(anogan)
    torch.testing.assert_close(scores[:256], model.anomaly_scores(x[:256]), rtol=1e-3, atol=1e-3)
    plain = torch.tensor([float(row["distance_to_mean"]) for row in rows])
    torch.testing.assert_close(plain, (x - x.mean(0)).square().flatten(1).sum(1), rtol=1e-4, atol=1e-4)
    assert all(float(row["distance_to_plane"]) <= float(row["distance_to_mean"]) for row in rows)
    assert said.count("AUROC") == 3
    assert Image.open(tmp_path / "scores.png").width > 80


def test_bad_arguments(app: typer.Typer, anogan: str, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(GencoreError, match=r"\.npy"):
        run(app, "invert", anogan, tmp_path / "a.png", "-o", tmp_path / "z.txt")
    with pytest.raises(GencoreError, match="does not exist"):
        run(app, "invert", anogan, tmp_path / "none.png", "-o", tmp_path / "z.npy")
    with pytest.raises(GencoreError, match=r"\.csv"):
        run(app, "anomaly", anogan, "-o", tmp_path / "scores.png")
    with pytest.raises(GencoreError, match="class"):
        run(app, "anomaly", anogan, "--normal", "cat", "-o", tmp_path / "scores.csv")
