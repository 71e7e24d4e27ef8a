"""Showers and jets from HDF5 files: the published layouts, and files that are broken or mean ill."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencore.conditions import Attributes, ClassLabel
from gencore.data import check_batch, open_source
from gencore.data.source import conditions_of
from gencore.errors import GencoreError, PluginError

files = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CELLS = {
    f"layer_{i}": np.arange(4 * a * b, dtype=np.float64).reshape(4, a, b) for i, (a, b) in enumerate([(3, 2), (2, 2)])
}
SHOWERS: dict[str, Any] = {**CELLS, "energy": np.array([[1.0], [5.0], [2.0], [50.0]]), "overflow": np.zeros((4, 3))}


def written(path: Path, members: dict[str, Any]) -> str:
    with h5py.File(path, "w") as file:
        for name, value in members.items():
            file[name] = value
    return str(path)


def test_showers_in_gev_with_the_energy_asked_for(tmp_path: Path) -> None:
    """Cells are stored in MeV, the energy in GeV; layers follow one another."""
    source = open_source(written(tmp_path / "showers.hdf5", SHOWERS))
    assert source.shape == (10,)
    assert conditions_of(source) == (Attributes(names=("energy",), low=1.0, high=50.0),)
    batch = source.fetch(torch.tensor([3, 1]))
    check_batch(batch, source)
    assert batch["attributes"].tolist() == [[50.0], [5.0]]
    expected = np.concatenate([CELLS["layer_0"][3].ravel(), CELLS["layer_1"][3].ravel()]) / 1000
    np.testing.assert_allclose(batch["x"][0].numpy(), expected, rtol=1e-6)


def test_jets_with_and_without_their_class(tmp_path: Path) -> None:
    image, signal = np.random.default_rng(0).random((3, 5, 4)), np.array([1.0, 0.0, 1.0])
    source = open_source(written(tmp_path / "a.h5", {"image": image, "signal": signal, "tau_21": signal}))
    batch = source.fetch(torch.arange(3))
    check_batch(batch, source)
    assert batch["label"].tolist() == [1, 0, 1]
    assert conditions_of(source) == (ClassLabel(count=2, names=("background", "signal")),)
    torch.testing.assert_close(batch["x"], torch.from_numpy(image).float())
    assert open_source(written(tmp_path / "b.h5", {"image": image})).num_classes is None
    with pytest.warns(UserWarning, match="charge are left out"):
        open_source(written(tmp_path / "c.h5", {"image": image, "charge": signal}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": None}, "has no 'energy', only layer_0"),
        ({"energy": np.ones(3)}, "energy has 3 rows; expected 4, as layer_0"),
        ({"energy": np.zeros(4)}, "energy goes down to 0"),
        ({"energy": np.ones((4, 2))}, r"energy is \(4, 2\)"),
        ({"energy": np.full(4, np.nan)}, "NaN or infinite"),
        ({"energy": np.array([b"a"] * 4)}, r"energy is \(4,\) \|S1"),
        ({"layer_1": -np.ones((4, 2, 2))}, "layer_1 goes down to -1"),
        ({"layer_1": np.ones((4, 4))}, r"layer_1 is \(4, 4\)"),
        ({"layer_0": np.ones((0, 4, 4))}, r"layer_0 is \(0, 4, 4\)"),
        ({"layer_0": None}, "holds energy, layer_1, overflow; expected layer_0"),
    ],
)
def test_another_layout_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    members = {name: value for name, value in {**SHOWERS, **change}.items() if value is not None}
    with pytest.raises(GencoreError, match=message):
        open_source(written(tmp_path / "showers.hdf5", members))


def elsewhere(file: h5py.File, other: str) -> None:
    file["layer_0"] = h5py.ExternalLink(other, "layer_0")


def virtual(file: h5py.File, other: str) -> None:
    layout = h5py.VirtualLayout(shape=(4, 3, 2), dtype="f8")
    layout[:] = h5py.VirtualSource(other, "layer_0", shape=(4, 3, 2))
    file.create_virtual_dataset("layer_0", layout)


def outside(file: h5py.File, other: str) -> None:
    file.create_dataset("layer_0", (4, 3, 2), "f8", external=[(other, 0, 4 * 6 * 8)])


def enormous(file: h5py.File, other: str) -> None:
    file.create_dataset("layer_0", (4, 10**7, 10**7), "f8", chunks=(1, 100, 100), compression="gzip")


def folder(file: h5py.File, other: str) -> None:
    file.create_group("layer_0")


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (elsewhere, "expected layer_0"),
        (virtual, "lies in other files"),
        (outside, "lies in other files"),
        (enormous, "GiB in memory"),
        (folder, "layer_0 is None"),
    ],
)
def test_only_what_lies_in_the_file_is_read(
    tmp_path: Path, put: Callable[[h5py.File, str], None], message: str
) -> None:
    """Links and data sets that lead into other files would hand over what the reader of the file may see."""
    other = written(tmp_path / "other.hdf5", SHOWERS)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for name in ("layer_1", "energy"):
            file[name] = SHOWERS[name]
        put(file, other)
    with pytest.raises(GencoreError, match=message):
        open_source(str(tmp_path / "a.hdf5"))


@files
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.none() | st.integers(0, 10_000))
def test_damaged_files_are_refused_or_read(tmp_path: Path, place: int, byte: int, cut: int | None) -> None:
    path = tmp_path / "showers.hdf5"
    data = bytearray(Path(written(tmp_path / "whole.hdf5", SHOWERS)).read_bytes())
    data[place % len(data)] = byte
    path.write_bytes(data if cut is None else data[: cut % len(data)])
    with contextlib.suppress(GencoreError):
        source = open_source(str(path))
        check_batch(source.fetch(torch.arange(len(source))), source)


@files
@given(content=st.binary(max_size=200), magic=st.booleans())
def test_random_bytes_are_refused(tmp_path: Path, content: bytes, magic: bool) -> None:
    path = tmp_path / "showers.hdf5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" * magic + content)
    with pytest.raises(GencoreError, match="cannot be read as HDF5"):
        open_source(str(path))


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "a.hdf5")
    with pytest.raises(GencoreError, match="FIFO"):
        open_source(str(tmp_path / "a.hdf5"))
    with pytest.raises(GencoreError, match="does not exist"):
        open_source(str(tmp_path / "none.hdf5"))
    path = written(tmp_path / "showers.hdf5", SHOWERS)
    with pytest.raises(GencoreError, match="image_size is 8"):
        open_source(path, image_size=8)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(PluginError, match=r'pip install "gencore\[physics\]"'):
        open_source(path)
