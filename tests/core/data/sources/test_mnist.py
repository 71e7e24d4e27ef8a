from __future__ import annotations

import contextlib
import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencore.data import mnist, mnist_from_hub, open_source
from gencore.data.sources.idx import read_idx
from gencore.data.sources.mnist import STEMS
from gencore.errors import GencoreError

files = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def idx_bytes(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    )


def write_mnist(
    folder: Path, counts: tuple[int, int] = (7, 3), pack: bool = False, suffix: str = ""
) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for part, count in zip(("train", "test"), counts, strict=True):
        images = (np.arange(count * 6 * 5).reshape(count, 6, 5) * 7) % 256
        labels = np.arange(count) % 10
        for stem, array in zip(STEMS[part], (images, labels), strict=True):
            data = idx_bytes(array)
            (folder / (stem + suffix)).write_bytes(gzip.compress(data) if pack else data)
            made[stem] = array
    return made


@files
@given(data=st.data(), packed=st.booleans())
def test_idx_round_trip(tmp_path: Path, data: st.DataObject, packed: bool) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    array = np.frombuffer(data.draw(st.binary(min_size=(n := int(np.prod(shape))), max_size=n)), np.uint8).reshape(
        shape
    )
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    assert np.array_equal(read_idx(path, len(shape)), array)


@files
@given(content=st.binary(max_size=64), axes=st.integers(1, 3), magic=st.booleans())
def test_random_bytes_are_refused_or_read_exactly(tmp_path: Path, content: bytes, axes: int, magic: bool) -> None:
    path = tmp_path / "file"
    content = bytes([0, 0, 8, axes]) + content if magic else content
    path.write_bytes(content)
    with contextlib.suppress(GencoreError):
        assert idx_bytes(read_idx(path, axes)) == content


@files
@given(cut=st.integers(0, 200), packed=st.booleans())
def test_every_truncation_is_refused(tmp_path: Path, cut: int, packed: bool) -> None:
    data = idx_bytes(np.random.Generator(np.random.Philox(key=1)).integers(0, 256, (4, 6, 5)))
    data = gzip.compress(data) if packed else data
    path = tmp_path / "file"
    path.write_bytes(data[: cut % len(data)])
    with pytest.raises(GencoreError, match=r"truncated|begins with"):
        read_idx(path, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with nothing"),
        (b"PK\3\4", "begins with 50 4b 03 04.*begins with 00 00 08 03"),
        (bytes([0, 0, 13, 3]), "begins with 00 00 0d 03"),
        (idx_bytes(np.zeros(3)), "begins with 00 00 08 01.*3 axes"),
        (idx_bytes(np.zeros((2, 0, 2))), r"empty: its header gives the shape \(2, 0, 2\)"),
        (idx_bytes(np.zeros((2, 2, 2))) + b"!", "trailing bytes"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"abc", "truncated after 3 values"),
        (b"\x1f\x8bnothing of the kind", "damaged"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(GencoreError, match=message):
        read_idx(path, 3)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(GencoreError, match="nowhere cannot be read: No such file"):
        read_idx(tmp_path / "nowhere", 3)
    with pytest.raises(GencoreError, match="cannot be read"):
        read_idx(tmp_path, 3)


@pytest.mark.parametrize(("pack", "suffix"), [(False, ""), (True, ".gz"), (True, ""), (False, ".gz")])
@pytest.mark.parametrize("inside", [".", "raw", "MNIST/raw"])
def test_mnist_reads_its_files(tmp_path: Path, pack: bool, suffix: str, inside: str) -> None:
    made = write_mnist(tmp_path / inside, pack=pack, suffix=suffix)
    for split, count, part in (("train", 7, "train"), ("test", 3, "test")):
        source = mnist(tmp_path, split)  # type: ignore[arg-type]
        batch = source.fetch(torch.arange(count))
        assert (len(source), source.shape, source.num_classes) == (count, (1, 6, 5), 10)
        assert torch.equal(batch["x"][:, 0], torch.from_numpy(made[STEMS[part][0]]).float() / 127.5 - 1)
        assert torch.equal(batch["label"], torch.from_numpy(made[STEMS[part][1]]))
    both = mnist(tmp_path, "all")
    assert torch.equal(both.x, torch.cat([mnist(tmp_path, "train").x, mnist(tmp_path, "test").x]))
    assert mnist(tmp_path, image_size=4).shape == (1, 4, 4)


def test_missing_and_mismatched_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(GencoreError, match=r"is no folder.*train-images-idx3-ubyte.*t10k-labels-idx1-ubyte"):
        mnist(tmp_path / "nowhere")
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert len(mnist(tmp_path)) == 7
    with pytest.raises(GencoreError, match="lacks t10k-labels-idx1-ubyte"):
        mnist(tmp_path, "test")
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(idx_bytes(np.zeros(4)))
    with pytest.raises(GencoreError, match="3 images and t10k-labels-idx1-ubyte 4 labels"):
        mnist(tmp_path, "test")
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(idx_bytes(np.array([0, 1, 10])))
    with pytest.raises(GencoreError, match=r"1 labels outside 0 ... 9, the first \(10\) at position 2"):
        mnist(tmp_path, "test")
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(idx_bytes(np.zeros(3)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((3, 9, 9))))
    with pytest.raises(GencoreError, match="differ in size"):
        mnist(tmp_path, "all")


def test_mnist_from_the_cache_of_the_hub(tmp_path: Path) -> None:
    """huggingface_hub itself reads a cache laid out as it lays it out; nothing goes over a network."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "datasets--someone--digits"
    write_mnist(repository / "snapshots" / commit, pack=True, suffix=".gz")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    source = mnist_from_hub("someone/digits", "test", cache_dir=tmp_path, local_files_only=True)
    assert len(source) == 3
    assert len(mnist_from_hub("someone/digits", revision=commit, cache_dir=tmp_path, local_files_only=True)) == 7
    with pytest.raises(GencoreError, match="'someone/else' cannot be had"):
        mnist_from_hub("someone/else", cache_dir=tmp_path, local_files_only=True)
    with pytest.raises(GencoreError, match="cannot be had"):
        mnist_from_hub("not a name", cache_dir=tmp_path, local_files_only=True)


@pytest.mark.parametrize("pack", [False, True])
def test_a_header_that_lies_is_found_before_anything_is_read(tmp_path: Path, pack: bool) -> None:
    data = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**20, 2**20) + bytes(1000)
    (tmp_path / "file").write_bytes(gzip.compress(data) if pack else data)
    with pytest.raises(GencoreError, match="too short for that many" if pack else "truncated after 1000 values"):
        read_idx(tmp_path / "file", 3)


def test_zeros_packed_as_tightly_as_can_be_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(gzip.compress(idx_bytes(np.zeros((400, 64, 64))), 9))
    assert read_idx(tmp_path / "file", 3).shape == (400, 64, 64)


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    with pytest.raises(GencoreError, match="is a FIFO; expected an IDX file"):
        read_idx(tmp_path / "file", 3)


def test_nearly_black_images_need_a_range(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    for part in STEMS.values():
        path = tmp_path / part[0]
        array = read_idx(path, 3) % 2
        path.write_bytes(idx_bytes(array))
    with pytest.raises(GencoreError, match="whole numbers up to 1, of 255"):
        mnist(tmp_path)
    x = open_source(f"mnist:{tmp_path}", data_range=(0, 1)).fetch(torch.arange(7))["x"]
    assert x.unique().tolist() == [-1, 1]
    with pytest.raises(GencoreError, match="values from 0 to 1; data_range says 0 to 0.5"):
        mnist(tmp_path, data_range=(0, 0.5))
