from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencore.data import arrays
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
