"""The path of a model with two parameters: numbers, picture, resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gencore.training.run import RunSettings, train
from gencore.training.trajectory import path


def run(out: Path, **changes: object) -> np.ndarray:
    settings = RunSettings(system="consensus-gan", steps=6, checkpoint_every=3, **changes)  # type: ignore[arg-type]
    train(settings, out, quiet=True)
    return np.load(out / "samples/trajectory.npy")


def test_every_iteration_of_two_players_is_kept_and_drawn(tmp_path: Path) -> None:
    rows = run(tmp_path / "run")
    assert rows[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert len(np.unique(rows[:, 1:], axis=0)) == 6
    with Image.open(tmp_path / "run/samples/trajectory.png") as picture:
        assert len(picture.getcolors()) > 4


def test_a_resumed_run_goes_on_with_the_path_it_had(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    out = tmp_path / "parts"
    train(RunSettings(system="consensus-gan", steps=3, checkpoint_every=3), out, quiet=True)
    train(RunSettings(system="consensus-gan", steps=6, checkpoint_every=3), out, resume=True, quiet=True)
    np.testing.assert_array_equal(np.load(out / "samples/trajectory.npy"), whole)


def test_larger_models_have_none(tmp_path: Path) -> None:
    train(RunSettings(system="vae", steps=1, data="digits"), tmp_path / "run", quiet=True)
    assert not list((tmp_path / "run/samples").glob("trajectory.*"))


def test_the_picture_goes_from_ring_to_dot() -> None:
    picture = path(torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]]), size=100)
    assert picture.getpixel((95, 1)) == (0, 0, 0)  # the ring
    assert picture.getpixel((5, 95)) == (0, 0, 0)
    assert picture.getpixel((50, 5)) != (255, 255, 255)
    assert picture.getpixel((50, 50)) == (0, 0, 0)  # the cross at the origin
    assert picture.getpixel((80, 80)) == (255, 255, 255)
