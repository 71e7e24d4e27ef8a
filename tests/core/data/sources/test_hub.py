"""Hub data sets through the `datasets` library, against tables that are made here; without it, one clear error."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gencore.conditions import Attributes, ClassLabel, Tokens
from gencore.conditions import Image as ImageCondition
from gencore.data import Batches, check_batch, fingerprint, open_source
from gencore.data.options import OpenOptions
from gencore.data.source import conditions_of
from gencore.data.sources.hub import from_table
from gencore.errors import GencoreError, PluginError
from tests.core.data.png_writer import GREY, RGB
from tests.core.data.png_writer import png as png_file

RANDOM = np.random.Generator(np.random.Philox(key=7))
PIXELS = RANDOM.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> dict[str, Any]:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def table(**columns: tuple[Any, Any]) -> Any:
    """A datasets.Dataset of {column: (values, feature)}."""
    datasets = pytest.importorskip("datasets")
    features = {name: feature if feature != "image" else datasets.Image() for name, (_, feature) in columns.items()}
    features = {n: datasets.Value(f) if isinstance(f, str) else f for n, f in features.items()}
    values = {name: value for name, (value, _) in columns.items()}
    schema = datasets.Features(features).arrow_schema
    made = pytest.importorskip("pyarrow").Table.from_pydict(values, schema=schema)
    # with a fingerprint given, nothing is pickled for one: dill fails at that with some versions of pyarrow
    return datasets.Dataset(datasets.table.InMemoryTable(made), fingerprint="made-here")


def classes(*names: str) -> Any:
    return pytest.importorskip("datasets").ClassLabel(names=list(names))


def pictures(pixels: np.ndarray = PIXELS) -> tuple[list[dict[str, Any]], str]:
    return [png(p) for p in pixels], "image"


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PluginError, match=r'needs the datasets library.*pip install "gencore\[hf\]"'):
        open_source("hf://datasets/a/b")


@pytest.mark.parametrize("spec", ["hf:", "hf://models/a/b", "hf://datasets/a", "hf:a/b", "hf://datasets/a/b/c"])
def test_what_is_no_hub_data_set(spec: str) -> None:
    with pytest.raises(GencoreError, match=r"is no Hub data set; expected hf://datasets/ORG/NAME"):
        open_source(spec)


def test_what_is_asked_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(*arguments: Any, **options: Any) -> Any:
        asked.append((arguments, options))
        raise RuntimeError("no such split")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(GencoreError, match="'a/b' cannot be had: RuntimeError: no such split"):
        open_source("hf://datasets/a/b@v1", split="test")
    assert asked == [(("a/b",), {"revision": "v1", "split": "test"})]
    with pytest.raises(GencoreError, match="skip_corrupt is for folders"):
        open_source("hf://datasets/a/b", skip_corrupt=True)


def test_pictures_and_labels() -> None:
    made = table(picture=pictures(), label=([0, 1, 1, 0, 1, 0], classes("cat", "dog")))
    source = from_table(made, OpenOptions(), "t")
    assert conditions_of(source) == (ClassLabel(count=2, names=("cat", "dog")),)
    batch = Batches(source, 3, seed=0)[0]
    check_batch(batch, source)
    expected = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)[batch["index"]]
    assert torch.equal(((batch["x"] + 1) * 127.5).round().byte(), expected)
    assert batch["label"].tolist() == [[0, 1, 1, 0, 1, 0][i] for i in batch["index"]]
    assert from_table(made, OpenOptions(condition="none"), "t").num_classes is None
    assert from_table(made, OpenOptions(image_size=4, channels=1), "t").shape == (1, 4, 4)
    assert fingerprint(source) == fingerprint(from_table(made, OpenOptions(), "t"))


def test_a_parquet_file(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    table(image=pictures(), label=([0, 1, 1, 0, 1, 0], classes("cat", "dog"))).to_parquet(tmp_path / "train.parquet")
    read = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "train.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    source = from_table(read, OpenOptions(), "t")
    assert source.class_names == ("cat", "dog")
    assert source.fetch(torch.arange(6))["label"].tolist() == [0, 1, 1, 0, 1, 0]


def test_text_numbers_and_inputs_as_condition() -> None:
    texts, sizes = [f"a {word} thing" for word in ["red", "blue", "red", "blue", "red", "blue"]], [1.0, 2, 3, 4, 5, 6]
    made = table(
        image=pictures(), text=(texts, "string"), size=(sizes, "float64"), edge=pictures(PIXELS[..., 0].copy())
    )
    with pytest.raises(GencoreError, match="image columns image, edge"):
        from_table(made, OpenOptions(), "t")
    source = from_table(made, OpenOptions(condition="edge"), "t")
    assert conditions_of(source) == (ImageCondition(shape=(1, 8, 8)),)
    batch = source.fetch(torch.arange(6))
    check_batch(batch, source)
    edges = torch.from_numpy(PIXELS[..., 0].copy())[:, None]
    assert torch.equal(((batch["x_input"] + 1) * 127.5).round().byte(), edges)
    made = made.remove_columns("edge")
    tokens = from_table(made, OpenOptions(condition="text"), "t")
    assert conditions_of(tokens) == (Tokens(length=3, words=("a", "blue", "red", "thing")),)
    assert tokens.fetch(torch.tensor([1]))["tokens"].tolist() == [[1, 2, 4]]
    numbers = from_table(made, OpenOptions(condition="size"), "t")
    assert conditions_of(numbers) == (Attributes(names=("size",), low=0, high=6),)
    with pytest.raises(GencoreError, match="no column 'txt'.*Did you mean 'text'"):
        from_table(made, OpenOptions(condition="txt"), "t")


def test_what_is_refused() -> None:
    two = classes("a", "b")
    with pytest.raises(GencoreError, match="image columns none"):
        from_table(table(text=(["a"], "string")), OpenOptions(), "t")
    several = table(image=pictures(), fine=([0] * 6, two), coarse=([1] * 6, two))
    with pytest.raises(GencoreError, match="several columns of classes: fine, coarse"):
        from_table(several, OpenOptions(), "t")
    assert from_table(several, OpenOptions(condition="coarse"), "t").fetch(torch.arange(2))["label"].tolist() == [1, 1]
    with pytest.raises(GencoreError, match=r"squares of one size \(8 x 6\).*--image-size 32"):
        from_table(table(image=pictures(PIXELS[:, :6])), OpenOptions(), "t")
    with pytest.raises(GencoreError, match="1 labels outside"):
        from_table(table(image=pictures(PIXELS[:1]), label=([-1], two)), OpenOptions(), "t")
    with pytest.raises(GencoreError, match="whole numbers up to 1, of 255"):
        from_table(table(image=pictures(PIXELS % 2)), OpenOptions(), "t")
    assert from_table(table(image=pictures(PIXELS % 2)), OpenOptions(data_range=(0, 1)), "t").fetch(torch.arange(6))[
        "x"
    ].unique().tolist() == [-1, 1]
    with pytest.raises(GencoreError, match="example 0: 'image' cannot be read as an image"):
        from_table(table(image=([{"bytes": b"no", "path": None}], "image")), OpenOptions(), "t")
    with pytest.raises(GencoreError, match="example 0: 'image' cannot be read as an image: there is none"):
        from_table(table(image=([None], "image")), OpenOptions(), "t")
    with pytest.raises(GencoreError, match="is empty"):
        from_table(table(image=([], "image")), OpenOptions(), "t")


def test_depth_and_colour_key_are_kept() -> None:
    deep = {"bytes": png_file(np.full((4, 4, 3), 0x7FFF), RGB, 16), "path": None}
    keyed = {"bytes": png_file(np.full((4, 4, 1), 8), GREY, 4, key=(8,)), "path": None}
    x = from_table(table(image=([deep, keyed], "image")), OpenOptions(), "t").fetch(torch.arange(2))["x"]
    assert ((x[:, 0, 2, 2] + 1) * 127.5).round().tolist() == [127, 255]


def test_a_large_turned_jpeg_file_beside_the_table(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    left_white = Image.new("L", (160, 160))
    left_white.paste(255, (0, 0, 80, 160))
    left_white.save(tmp_path / "a.jpg", exif=exif)
    made = table(image=([{"bytes": None, "path": str(tmp_path / "a.jpg")}], "image"))
    x = from_table(made, OpenOptions(image_size=4), "t").fetch(torch.arange(1))["x"]
    assert x[0, 0, 0].tolist() == pytest.approx([1] * 4, abs=0.1), "turned clockwise, the left side is on top"
    assert x[0, 0, 3].tolist() == pytest.approx([-1] * 4, abs=0.1)
