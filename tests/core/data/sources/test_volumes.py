"""Volumes: binvox files and arrays, and the three views of a grid."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencore.conditions import ClassLabel
from gencore.data import check_batch, open_source
from gencore.data.source import conditions_of
from gencore.data.sources.volumes import read_binvox, three_views
from gencore.errors import GencoreError

files = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def binvox(grid: np.ndarray, head: str = "#binvox 1\ndim {0} {0} {0}\ntranslate 0 0 -1.5\nscale 2\ndata\n") -> bytes:
    """A file as the format's page describes it: of grid[x, y, z], y fastest, then z, then x; runs of at most 255."""
    flat = [int(value) for plane in grid for z in range(len(grid)) for value in plane[:, z]]
    out, run = bytearray(), 0
    for place, value in enumerate(flat):
        run += 1
        if run == 255 or place + 1 == len(flat) or flat[place + 1] != value:
            out += bytes([value, run])
            run = 0
    return head.format(len(grid)).encode() + bytes(out)


def some(seed: int, size: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).random((size, size, size)) < 0.3


def test_a_binvox_file_stands_up_and_is_not_mirrored(tmp_path: Path) -> None:
    """One voxel at x 1, y 2 (up), z 3: our axes are up, minus its z, x. A full grid has runs of 255."""
    grid = np.zeros((4, 4, 4))
    grid[1, 2, 3] = 1
    (tmp_path / "a.binvox").write_bytes(binvox(grid))
    assert read_binvox(tmp_path / "a.binvox").nonzero().tolist() == [[2, 0, 1]]
    (tmp_path / "b.binvox").write_bytes(binvox(np.ones((9, 9, 9))))
    assert read_binvox(tmp_path / "b.binvox").sum() == 729


def test_a_folder_with_classes(tmp_path: Path) -> None:
    grids = [some(seed) for seed in range(3)]
    for name, grid in zip(("chair/2.binvox", "chair/10.binvox", "sofa/a.BINVOX"), grids, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(binvox(grid))
    source = open_source(f"volumes:{tmp_path}")
    batch = source.fetch(torch.arange(3))
    check_batch(batch, source)
    assert source.shape == (1, 4, 4, 4)
    assert batch["label"].tolist() == [0, 0, 1]
    assert conditions_of(source) == (ClassLabel(count=2, names=("chair", "sofa")),)
    assert batch["x"].sum((1, 2, 3, 4)).tolist() == [grid.sum() for grid in grids]
    assert open_source(f"volumes:{tmp_path / 'chair'}").num_classes is None
    assert len(open_source(f"volumes:{tmp_path / 'chair' / '2.binvox'}")) == 1
    half = open_source(f"volumes:{tmp_path}", image_size=2).fetch(torch.tensor([0]))["x"]
    assert half[0, 0, 1, 1, 1] == batch["x"][0, 0, 2:, 2:, 2:].max()
    (tmp_path / "sofa" / "b.binvox").write_bytes(binvox(some(0, size=3)))
    with pytest.raises(GencoreError, match="expected one size. Say which"):
        open_source(f"volumes:{tmp_path}")


def test_arrays(tmp_path: Path) -> None:
    x = np.stack([some(seed) for seed in range(3)])
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "b.npz", x=x[:, None].astype(np.float64) / 2, label=np.array([0, 2, 1]))
    plain, labelled = (open_source(f"volumes:{tmp_path / name}") for name in ("a.npy", "b.npz"))
    assert plain.shape == labelled.shape == (1, 4, 4, 4)
    torch.testing.assert_close(plain.fetch(torch.arange(3))["x"][:, 0], torch.from_numpy(x).float())
    batch = labelled.fetch(torch.arange(3))
    check_batch(batch, labelled)
    assert batch["x"].max() == 0.5
    assert batch["label"].tolist() == [0, 2, 1]
    assert open_source(f"volumes:{tmp_path / 'b.npz'}", condition="none").num_classes is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", np.zeros((2, 3, 4, 4)), r"expected grids \(N, S, S, S\)"),
        ("a.npy", np.full((2, 4, 4, 4), 2.0), r"values from 2 to 2; expected \[0, 1\]"),
        ("a.npy", np.full((2, 4, 4, 4), np.nan), "NaN or infinite"),
        ("a.npy", np.zeros((2, 4, 4, 4), "c16"), "expected grids"),
        ("a.npz", {"x": np.zeros((2, 4, 4, 4)), "label": np.array([0.0, 1.0])}, r"label is \(2,\) float64"),
        ("a.npz", {"x": np.zeros((2, 4, 4, 4)), "label": np.array([0, -1])}, "labels outside"),
        ("a.npz", {"label": np.zeros(2, int)}, "no member x"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, name: str, content: Any, message: str) -> None:
    if isinstance(content, dict):
        np.savez(tmp_path / name, **content)
    else:
        np.save(tmp_path / name, content)
    with pytest.raises(GencoreError, match=message):
        open_source(f"volumes:{tmp_path / name}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no binvox file"),
        (b"#binvox 1\ndim 2 2 2\n", "its header has no end"),
        (b"#binvox 2\ndim 2 2 2\ndata\n", "begins with"),
        (b"hello\ndata\n", "begins with"),
        (b"#binvox 1\ndata\n", "has the dim"),
        (b"#binvox 1\ndim 2 2 3\ndata\n\x01\x0c", "three equal numbers"),
        (b"#binvox 1\ndim 99999999999 2 2\ndata\n", "three equal numbers"),
        (b"#binvox 1\ndim 2000 2000 2000\ndata\n", "up to 1024"),
        (b"#binvox 1\ndim 2 2 2\ndata\n\x01\x07", "has 7 voxels; expected 2 x 2 x 2"),
        (b"#binvox 1\ndim 2 2 2\ndata\n\x01\x09", "has 9 voxels"),
        (b"#binvox 1\ndim 2 2 2\ndata\n\x02\x08", "has the value 2"),
        (b"#binvox 1\ndim 2 2 2\ndata\n\x01", "is cut short"),
        (b"#binvox 1\n" + b"comment\n" * 100 + b"data\n", "its header has no end"),
    ],
)
def test_broken_binvox_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.binvox").write_bytes(content)
    with pytest.raises(GencoreError, match=message):
        open_source(f"volumes:{tmp_path / 'a.binvox'}")


@files
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.none() | st.integers(0, 10_000))
def test_damaged_binvox_files_are_refused_or_read(tmp_path: Path, place: int, byte: int, cut: int | None) -> None:
    data = bytearray(binvox(some(1)))
    data[place % len(data)] = byte
    (tmp_path / "a.binvox").write_bytes(data if cut is None else data[: cut % len(data)])
    with contextlib.suppress(GencoreError):
        grid = read_binvox(tmp_path / "a.binvox")
        assert grid.shape == (len(grid),) * 3
        assert cut is None


@files
@given(content=st.binary(max_size=100), magic=st.booleans())
def test_random_bytes_are_no_binvox_file(tmp_path: Path, content: bytes, magic: bool) -> None:
    (tmp_path / "a.binvox").write_bytes(b"#binvox 1\ndim 4 4 4\ndata\n" * magic + content)
    with contextlib.suppress(GencoreError):
        assert read_binvox(tmp_path / "a.binvox").numel() == 64


@files
@given(seed=st.integers(0, 1000), size=st.integers(1, 7))
def test_binvox_round_trip(tmp_path: Path, seed: int, size: int) -> None:
    grid = some(seed, size)
    (tmp_path / "a.binvox").write_bytes(binvox(grid))
    read = read_binvox(tmp_path / "a.binvox").numpy()
    assert np.array_equal(read, grid.transpose(1, 2, 0)[:, ::-1])


def test_words_that_are_not_understood(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_bytes(b"")
    for spec, options, message in (
        ("volumes:", {}, "is not understood"),
        (f"volumes:{tmp_path / 'a.obj'}", {}, r"expected a \.binvox, \.npy or \.npz"),
        (f"volumes:{tmp_path}", {}, "holds no .binvox"),
        (f"volumes:{tmp_path / 'a.binvox'}", {}, "does not exist"),
        (f"volumes:{tmp_path}", {"skip_corrupt": True}, "skip_corrupt"),
    ):
        with pytest.raises(GencoreError, match=message):
            open_source(spec, **options)
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 4, 4)))
    with pytest.raises(GencoreError, match="image_size is 8, but"):
        open_source(f"volumes:{tmp_path / 'a.npy'}", image_size=8)


def test_three_views_of_a_voxel() -> None:
    """z 0 (bottom), y 1, x 2 of 3: in front low at the right, 0.65 away; from the side (x 2 is nearest) low in the
    middle, bright; from above in the middle of the right column, farthest."""
    x = torch.zeros(1, 1, 3, 3, 3)
    x[0, 0, 0, 1, 2] = 1
    views = three_views(x)
    assert views.shape == (1, 1, 3, 9)
    front, side, above = ((views[0, 0] + 1) / 2).split(3, dim=1)
    for view, place, light in ((front, (2, 2), 0.65), (side, (2, 1), 1.0), (above, (1, 2), 0.3)):
        expected = torch.zeros(3, 3)
        expected[place] = light
        torch.testing.assert_close(view, expected)
    with pytest.raises(GencoreError, match="expected cubic grids"):
        three_views(torch.zeros(1, 1, 3, 3, 4))
