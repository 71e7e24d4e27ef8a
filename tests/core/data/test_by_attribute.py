"""Values of an attribute as classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gencore.data.by_attribute import by_attribute
from gencore.data.parts import train_and_test
from gencore.data.source import check_batch, class_names_of
from gencore.data.toys.captions import captions
from gencore.data.toys.faces import faces
from gencore.data.toys.scenes import scenes
from gencore.errors import GencoreError


def folder(root: Path, count: int) -> str:
    """Grey pictures: `lit` where they are bright, `kind` in words, `size` all different, a box."""
    root.mkdir()
    lines = []
    for k in range(count):
        Image.fromarray(np.full((6, 6), 40 + 100 * (k % 2), np.uint8)).save(root / f"{k}.png")
        row = {"file_name": f"{k}.png", "lit": 2 * (k % 2) - 1, "kind": ("A cat", "dog")[k % 2], "size": k / 7}
        lines.append(json.dumps({**row, "bbox": [0, 0, 2, 2]}))
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return str(root)


@pytest.mark.parametrize(("column", "names"), [("lit", ("0", "1")), ("kind", ("a cat", "dog"))])
def test_a_column_of_a_folder(tmp_path: Path, column: str, names: tuple[str, ...]) -> None:
    """Divided evenly by its values, which go with the pictures."""
    first, second = train_and_test(folder(tmp_path / "a", 10), attribute=column)
    assert (len(first), len(second)) == (8, 2)
    for part in (first, second):
        batch = part.fetch(torch.arange(len(part)))
        check_batch(batch, part)
        assert class_names_of(part) == names
        assert torch.equal(batch["label"], (batch["x"].mean((1, 2, 3)) > 0).long())
    other = folder(tmp_path / "b", 4)
    first, second = train_and_test(folder(tmp_path / "c", 10), test=other, attribute=column)
    assert (len(first), len(second)) == (10, 4)


def test_what_drawn_data_have() -> None:
    """Attributes by their name, and keys of one number an example."""
    source = scenes(40)
    index = torch.arange(40)
    assert torch.equal(by_attribute(source, "snow").fetch(index)["label"], source.further["attributes"][:, 2].long())
    source = faces(400, people=5)
    person = by_attribute(source, "person")
    assert person.num_classes == 5
    assert torch.equal(person.fetch(index)["label"], source.further["person"][index])
    told = by_attribute(captions(800), "tokens")
    assert "a small red circle top left" in class_names_of(told)
    assert set(told.fetch(index)) == {"x", "index", "label"}


@pytest.mark.parametrize(
    ("column", "message"),
    [("size", "10 different values"), ("lid", "'lit'"), ("bbox", "no attribute 'bbox'"), ("lit,size", "lit, size")],
)
def test_what_is_no_class_is_refused(tmp_path: Path, column: str, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        train_and_test(folder(tmp_path / "a", 10), attribute=column)


def test_names_that_are_not_there() -> None:
    """In drawn data, and in data that have none at all."""
    with pytest.raises(GencoreError, match="Did you mean 'snow'"):
        by_attribute(scenes(10), "snoww")
    with pytest.raises(GencoreError, match="It has none"):
        train_and_test("digits", attribute="age")
