from __future__ import annotations

import pytest
import torch

from gencore.data.toys.dirac import dirac
from gencore.data.toys.mixtures import grid25, grid_modes


def test_dirac_is_nought() -> None:
    source = dirac(5)
    assert source.shape == (1,)
    assert torch.equal(source.x, torch.zeros(5, 1))


def test_modes_are_a_square_grid() -> None:
    assert {tuple(mode) for mode in grid_modes().tolist()} == {(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)}


def test_each_mode_is_as_often_and_as_wide() -> None:
    source = grid25(25_000, seed=3)
    away = source.x - grid_modes()[source.further["label"]]
    assert source.further["label"].bincount().tolist() == [1000] * 25
    assert abs(away.std().item() - 0.05) < 0.001
    assert away.mean(0).abs().max() < 0.002


def test_a_negative_width_is_refused() -> None:
    with pytest.raises(ValueError, match="std is -1"):
        grid25(25, std=-1)
