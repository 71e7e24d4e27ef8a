from __future__ import annotations

import contextlib
import os
import pickle
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencore.conditions import ClassLabel, Image
from gencore.data import arrays, check_batch
from gencore.data.source import conditions_of
from gencore.data.sources.arrays import OnDisk
from gencore.errors import GencoreError, NonFiniteError

RANDOM = np.random.Generator(np.random.Philox(key=5))
BYTES = RANDOM.integers(0, 256, (6, 3, 8, 9), dtype=np.uint8)
SIGNED = RANDOM.uniform(-1, 1, (6, 3, 8, 9)).astype(np.float32)


def everything(source: object) -> dict[str, torch.Tensor]:
    return source.fetch(torch.arange(len(source)))  # type: ignore[attr-defined, arg-type, no-any-return]


def test_uint8_images_are_mapped() -> None:
    x = everything(arrays(BYTES))["x"]
    assert x.dtype == torch.float32
    assert torch.equal(x, torch.from_numpy(BYTES).float() / 127.5 - 1)
    assert everything(arrays(np.array([0, 255], np.uint8).reshape(2, 1, 1)))["x"].flatten().tolist() == [-1, 1]


def test_what_rounding_puts_beyond_the_range_is_clipped() -> None:
    assert everything(arrays(torch.tensor([-1.0005, 1.0005]).view(2, 1, 1)))["x"].flatten().tolist() == [-1, 1]


def test_both_layouts_give_the_same_source() -> None:
    upright = everything(arrays(SIGNED))["x"]
    assert torch.equal(upright, torch.from_numpy(SIGNED))
    assert torch.equal(everything(arrays(SIGNED.transpose(0, 2, 3, 1)))["x"], upright)
    assert torch.equal(everything(arrays(torch.from_numpy(SIGNED).double()))["x"], upright)
    assert arrays(BYTES[:, 0]).shape == (1, 8, 9)


def test_an_ambiguous_layout_must_be_said() -> None:
    x = SIGNED[:, :, :, :3]
    with pytest.raises(GencoreError, match=r'NCHW or NHWC.*layout="NCHW"'):
        arrays(x)
    assert torch.equal(everything(arrays(x, layout="NCHW"))["x"], torch.from_numpy(x.copy()))
    assert torch.equal(everything(arrays(x, layout="NHWC"))["x"], torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    with pytest.raises(GencoreError, match="expected NHWC with 1 or 3 channels"):
        arrays(SIGNED, layout="NHWC")
    with pytest.raises(GencoreError, match="layout is 'CHW'"):
        arrays(SIGNED, layout="CHW")  # type: ignore[arg-type]


def test_vectors_pass_unchanged() -> None:
    x = RANDOM.normal(size=(5, 3)) * 1000
    assert torch.equal(everything(arrays(x))["x"], torch.from_numpy(x).float())
    assert torch.equal(everything(arrays(x.astype(">f8")))["x"], torch.from_numpy(x).float())
    assert everything(arrays(x))["index"].tolist() == [0, 1, 2, 3, 4]


def test_read_only_and_reversed_arrays_are_taken() -> None:
    x = np.arange(6.0, dtype=np.float32).reshape(3, 2)[::-1]
    x.flags.writeable = False
    assert everything(arrays(x))["x"].tolist() == [[4, 5], [2, 3], [0, 1]]
    fixed = np.ones((3, 2), np.float32)
    fixed.flags.writeable = False
    arrays(fixed).x.zero_()
    assert (fixed == 1).all()


@pytest.mark.parametrize("key", ["label", "labels", "y"])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, ">i4"])
def test_labels(tmp_path: Path, key: str, dtype: str) -> None:
    members = {"x": BYTES, key: np.array([0, 1, 2, 0, 1, 2]).astype(dtype)}
    np.savez(tmp_path / "data.npz", **members)
    for source in (arrays(members), arrays(tmp_path / "data.npz")):
        assert source.num_classes == 3
        assert everything(source)["label"].tolist() == [0, 1, 2, 0, 1, 2]
        assert everything(source)["label"].dtype == torch.int64
    assert arrays(members, num_classes=10).num_classes == 10
    assert arrays(members["x"]).num_classes is None


def test_image_size() -> None:
    assert arrays(BYTES, image_size=4).shape == (3, 4, 4)
    with pytest.raises(GencoreError, match="no images"):
        arrays(np.zeros((3, 2), np.float32), image_size=4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BYTES.astype(np.float32), r"from 0 to 255; expected \[-1, 1\].*x / 127.5 - 1"),
        ((SIGNED + 1) / 2, r"looks like \[0, 1\]; expected \[-1, 1\]: x \* 2 - 1"),
        (SIGNED * 3, r"expected \[-1, 1\]"),
        (BYTES.astype(np.int32), "images of torch.int32"),
        (BYTES.astype(np.uint16), "images of torch.uint16"),
        (BYTES > 9, "images of torch.bool"),
        (SIGNED.astype(complex), "complex128"),
        (BYTES.reshape(6, -1), "uint8; expected floating-point vectors"),
        (np.zeros(4), r"Use x\[:, None\]"),
        (np.zeros((2, 1, 3, 4, 5)), r"shape \(2, 1, 3, 4, 5\)"),
        (np.zeros((0, 3)), "not empty"),
        (np.zeros((2, 4, 8, 8)), "with 1 or 3 channels"),
        (np.array(["a", "b"]), "cannot be a tensor"),
        (np.array([None, {}], dtype=object), "cannot be a tensor"),
        ({"images": BYTES}, r"no member 'x', only \['images'\]"),
        ({"x": BYTES, "y": np.arange(6), "label": np.arange(6)}, "labels under label and y"),
        ({"x": BYTES, "y": np.arange(5)}, r"\(5,\) torch.int64; expected \(6,\) integers"),
        ({"x": BYTES, "y": np.eye(6)}, r"\(6, 6\)"),
        ({"x": BYTES, "y": np.arange(6.0)}, "float64"),
        ({"x": BYTES, "y": np.arange(6) > 2}, "bool"),
        ({"x": BYTES, "y": np.arange(6) - 2}, r"2 labels outside .* first \(-2\) at position 0"),
    ],
)
def test_what_is_refused(data: object, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        arrays(data)  # type: ignore[arg-type]
    with pytest.raises(GencoreError, match=r"1 labels outside 0 ... 4"):
        arrays({"x": BYTES, "y": np.arange(6)}, num_classes=5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_bad_numbers_are_counted(value: float) -> None:
    x = np.zeros((9, 4))
    x[5, 2:] = x[7, 0] = value
    with pytest.raises(
        NonFiniteError, match="3 values that are NaN or infinite, in 2 of 9 examples; the first is example 5"
    ):
        arrays(x)
    images = np.full((4, 1, 5, 5), -0.5)
    images[3, 0, 0, 0] = value
    with pytest.raises(NonFiniteError, match=r"1 values .* first is example 3"):
        arrays(images)


class Bomb:
    exploded = False

    def __reduce__(self) -> tuple[object, tuple[type[Bomb], str, bool]]:
        return setattr, (Bomb, "exploded", True)


def test_pickles_are_refused_and_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "object.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "object.npz", x=BYTES, label=np.array([Bomb()], dtype=object))
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Bomb()))
    for path in tmp_path.iterdir():
        with pytest.raises(GencoreError, match="pickled objects, which are never loaded"):
            arrays(path)
    assert not Bomb.exploded


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), packed=st.booleans())
def test_damaged_files_are_refused_or_read(tmp_path: Path, data: st.DataObject, packed: bool) -> None:
    path = tmp_path / ("a.npz" if packed else "a.npy")
    if packed:
        np.savez_compressed(path, x=BYTES[:2], y=np.arange(2))
    else:
        np.save(path, BYTES[:2])
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        position = data.draw(st.integers(0, min(len(content), 200) - 1))
        content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with contextlib.suppress(GencoreError):
        assert arrays(path).shape


def test_paths_that_are_no_array_files(tmp_path: Path) -> None:
    with pytest.raises(GencoreError, match="does not exist"):
        arrays(tmp_path / "none.npy")
    with pytest.raises(GencoreError, match="is no array file"):
        arrays(tmp_path / "none.csv")
    (tmp_path / "empty.npy").write_bytes(b"")
    with pytest.raises(GencoreError, match="cannot be read"):
        arrays(tmp_path / "empty.npy")


@pytest.mark.parametrize("key", ["target", "targets", "Label", "LABELS", "Y"])
def test_labels_by_other_names_are_taken(tmp_path: Path, key: str) -> None:
    members = {"x": BYTES, key: np.array([0, 1, 2, 0, 1, 2])}
    np.savez(tmp_path / "data.npz", **members)
    for source in (arrays(members), arrays(tmp_path / "data.npz")):
        assert everything(source)["label"].tolist() == [0, 1, 2, 0, 1, 2]


def test_inputs_and_further_streams_are_taken_checked_and_resized(tmp_path: Path) -> None:
    members = {"x": BYTES, "x_input": SIGNED[: len(BYTES)], "x_b": BYTES[:, 0], "y": np.arange(6) % 2}
    np.savez(tmp_path / "data.npz", **members)
    for data in (members, tmp_path / "data.npz"):
        source = arrays(data)  # type: ignore[arg-type]
        batch = everything(source)
        check_batch(batch, source)
        assert set(batch) == {"x", "x_input", "x_b", "label", "index"}
        assert torch.equal(batch["x_input"], torch.from_numpy(members["x_input"]))
        assert conditions_of(source) == (Image(shape=(3, 8, 9)), ClassLabel(count=2))
    small = everything(arrays(members, image_size=4))
    assert {key: tuple(small[key].shape) for key in ("x", "x_input", "x_b")} == {
        "x": (6, 3, 4, 4),
        "x_input": (6, 3, 4, 4),
        "x_b": (6, 1, 4, 4),
    }
    with pytest.raises(GencoreError, match=r"x_input of arrays .*\[0, 1\]"):
        arrays(members | {"x_input": (SIGNED + 1) / 2})
    with pytest.raises(GencoreError, match="x_b of arrays has 5 rows; expected 6"):
        arrays(members | {"x_b": BYTES[:5]})


def test_members_that_nobody_asked_for_are_not_read(tmp_path: Path) -> None:
    """Not 256 MB of zeros, in 1 MB; those with a row for each example are named."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("x.npy", "w") as member:
            np.lib.format.write_array(member, BYTES)
        with archive.open("extra.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (2**28,)})
            for _ in range(16):
                member.write(bytes(2**24))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.warns(UserWarning, match=r"\['extra'\] are left out of account"):
        assert len(arrays(path, data_range=(0, 255))) == len(BYTES)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16
    np.savez(tmp_path / "rows.npz", x=BYTES, mask=BYTES, words=np.array(["a", "b"]))
    with pytest.raises(GencoreError, match=r"no use for its members \['mask'\]"):
        arrays(tmp_path / "rows.npz")
    with pytest.raises(GencoreError, match=r"no use for \['mask'\]"):
        arrays({"x": BYTES, "mask": BYTES})


def test_headers_that_lie_are_found_before_anything_is_read(tmp_path: Path) -> None:
    def write(name: str, shape: tuple[int, ...], follows: bytes) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as archive, archive.open("x.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": shape})
            member.write(follows)
        return tmp_path / name

    with pytest.raises(GencoreError, match="gives .* uint8, .* bytes with itself, and the member has"):
        arrays(write("long.npz", (2**50, 8, 8), bytes(64)))
    with pytest.raises(GencoreError, match="It is damaged"):
        arrays(write("short.npz", (1, 8, 8), bytes(65)))
    with open(tmp_path / "long.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (2**50, 8, 8)})
    with pytest.raises(GencoreError, match="is cut short"):
        arrays(tmp_path / "long.npy")


def test_more_than_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", x=BYTES)
    monkeypatch.setattr("os.sysconf", lambda name: 30)
    with pytest.raises(GencoreError, match="memory.* memory-mapped"):
        arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("x", "options"),
    [
        (BYTES, {}),
        (BYTES.transpose(0, 2, 3, 1), {}),
        (BYTES[:, 0], {"image_size": 4}),
        (SIGNED, {}),
        (SIGNED.astype(">f8"), {"image_size": 4}),
        (SIGNED[:, 0, 0], {}),
        (BYTES.astype(np.uint16) * 16, {"data_range": (0, 4095)}),
        (BYTES.astype(np.int32), {"data_range": (0, 255), "image_size": 4}),
    ],
)
def test_a_large_file_stays_on_the_disk_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, x: np.ndarray, options: dict[str, object], order: str
) -> None:
    np.save(tmp_path / "a.npy", np.asarray(x, order=order))  # type: ignore[call-overload]
    small = everything(arrays(tmp_path / "a.npy", **options))  # type: ignore[arg-type]
    monkeypatch.setattr("gencore.data.sources.arrays.LARGE", 1)
    monkeypatch.setattr("gencore.data.sources.arrays._CHUNK", 1000)
    source = arrays(tmp_path / "a.npy", **options)  # type: ignore[arg-type]
    assert isinstance(source, OnDisk)
    large = everything(source)
    check_batch(large, source)
    assert torch.equal(small["x"], large["x"])
    before = (tmp_path / "a.npy").read_bytes()
    source.x.zero_()
    assert (tmp_path / "a.npy").read_bytes() == before


def test_a_mapped_file_is_checked_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.full((50, 6, 6), -0.5, np.float32)
    x[41, 2, 2] = np.nan
    np.save(tmp_path / "a.npy", x)
    monkeypatch.setattr("gencore.data.sources.arrays.LARGE", 1)
    monkeypatch.setattr("gencore.data.sources.arrays._CHUNK", 1000)
    with pytest.raises(NonFiniteError, match="the first is example 41"):
        arrays(tmp_path / "a.npy")


@pytest.mark.slow
def test_a_large_file_is_not_copied_into_memory(tmp_path: Path) -> None:
    """1.5 GB, sparse: the process takes less than 1 GB of its own."""
    with open(tmp_path / "a.npy", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (3 * 2**19, 32, 32)}
        np.lib.format.write_array_header_1_0(file, header)
        file.seek(3 * 2**29 - 1, 1)
        file.write(b"\xff")
    script = (
        "import resource, sys, torch; from gencore.data import arrays;"
        "source = arrays(sys.argv[1]); x = source.fetch(torch.tensor([0, len(source) - 1]))['x'];"
        "assert x[0].max() == -1 and x[1].max() == 1;"
        "status = open('/proc/self/status').read().split();"
        "assert int(status[status.index('RssAnon:') + 1]) < 2**20, status"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.npy")], check=True, timeout=300)


@pytest.mark.parametrize(("x", "high"), [(BYTES % 2, 1), (BYTES % 17, 16), (np.eye(8, dtype=np.uint8)[None] * 16, 16)])
def test_nearly_black_arrays_need_a_range(x: np.ndarray, high: int) -> None:
    with pytest.raises(GencoreError, match=f"whole numbers up to {high}, of 255.*--data-range 0,{high}"):
        arrays(x)
    scaled = everything(arrays(x, data_range=(0, high)))["x"]
    reference = torch.from_numpy(x.astype(np.float64) / high * 2 - 1).float().view_as(scaled)
    assert torch.allclose(scaled, reference, atol=1e-6)
    assert everything(arrays(x, data_range=(0, 255)))["x"].max() == pytest.approx(high / 127.5 - 1, abs=1e-6)
    assert len(arrays(np.zeros_like(x))) == len(x)


def test_a_stated_range_is_held_to() -> None:
    unit = (SIGNED + 1) / 2
    torch.testing.assert_close(everything(arrays(unit, data_range=(0, 1)))["x"], torch.from_numpy(SIGNED))
    with pytest.raises(GencoreError, match=r"values from 0 to 255; data_range says 0 to 100"):
        arrays(np.arange(256, dtype=np.uint8).reshape(1, 16, 16), data_range=(0, 100))
    with pytest.raises(GencoreError, match=r"data_range is \(2, 1\)"):
        arrays(BYTES, data_range=(2, 1))
    with pytest.raises(GencoreError, match="data_range is for images"):
        arrays(SIGNED[:, 0, 0], data_range=(0, 1))


def test_labels_beyond_belief_are_refused() -> None:
    for largest in (10**12, 1000):
        with pytest.raises(GencoreError, match=f"go up to {largest}, with 6 examples"):
            arrays({"x": BYTES, "y": np.array([0, 1, 2, 3, 4, largest])})
    assert arrays({"x": BYTES, "y": np.array([0, 1, 2, 3, 4, 999])}).num_classes == 1000
    assert arrays({"x": BYTES, "y": np.array([0, 1, 2, 3, 4, 1000])}, num_classes=1001).num_classes == 1001


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("a.npy", "a.npz"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(GencoreError, match="is a FIFO"):
            arrays(tmp_path / name)
