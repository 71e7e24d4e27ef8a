from __future__ import annotations

import math

import pytest
import torch

from gencore.data.toys.voxels import SHAPES, build, largest_piece, voxels


@pytest.mark.parametrize("size", [8, 12, 16])
def test_every_object_is_one_piece_within_the_grid(size: int) -> None:
    grids, label = build(torch.arange(100), size=size)
    assert (largest_piece(grids) == 1).all()
    assert set(label.tolist()) == {0, 1, 2, 3}
    assert set(grids.unique().tolist()) == {0.0, 1.0}
    faces = torch.stack([grids.select(axis, end) for axis in (1, 2, 3) for end in (0, -1)])
    if size > 8:
        assert faces.mean() < 0.02


def test_volumes_are_those_of_the_solids() -> None:
    """Means over their ranges, in shares of the grid's 8: (2 E[h])^3, 4/3 pi E[r^3], pi E[r^2] * 2 E[h]."""
    grids, label = build(torch.arange(2000), size=16)
    occupied = grids.mean((1, 2, 3)) * 8
    third_moment = (0.8**4 - 0.5**4) / (4 * 0.3)
    second_moment = (0.5**3 - 0.3**3) / (3 * 0.2)
    expected = {
        "box": 1.1**3,
        "ball": 4 / 3 * math.pi * third_moment,
        "cylinder": math.pi * second_moment * 2 * 0.725,
    }
    for shape, volume in expected.items():
        got = occupied[label == SHAPES.index(shape)].mean().item()
        assert abs(got - volume) < 0.06 * volume, shape


def test_a_stool_has_a_seat_on_four_legs() -> None:
    grids, label = build(torch.arange(200), size=16)
    for stool in grids[label == SHAPES.index("stool")]:
        area = stool.sum((1, 2))
        rows = area.nonzero()[:, 0]
        assert area[rows[0]] < area[rows[-1]]
        legs = stool[rows[0]]
        assert legs.sum() == area[rows[0]]
        middle = legs.nonzero().float().mean(0)
        side = (legs.nonzero() > middle).long()
        assert len(side.unique(dim=0)) == 4


def test_pieces_are_counted_by_faces() -> None:
    grids = torch.zeros(4, 3, 3, 3)
    grids[1, 0, 0, :2] = 1  # a pair, and one across a corner
    grids[1, 1, 1, 2] = 1
    grids[2] = 1
    grids[3, 0, 0, 0] = grids[3, 1, 1, 0] = 1  # joined by an edge alone
    torch.testing.assert_close(largest_piece(grids), torch.tensor([0, 2 / 3, 1, 0.5]))


def test_the_shape_has_one_channel() -> None:
    source = voxels(8, size=16)
    assert source.shape == (1, 16, 16, 16)
    assert source.conditions[0].names == SHAPES
    with pytest.raises(ValueError, match="size is 7; expected at least 8"):
        voxels(8, size=7)
