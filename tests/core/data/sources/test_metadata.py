from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from gencore.conditions import Attributes, ClassLabel, Tokens
from gencore.data import check_batch, open_source
from gencore.data.source import conditions_of
from gencore.data.sources.metadata import condition_from, read_metadata
from gencore.errors import GencoreError

files = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

ROWS = (
    {"file_name": "a/1.png", "text": "A red, red square", "size": 3, "kind": 0.5},
    {"file_name": "b/2.png", "text": "blue disc", "size": 7, "kind": -1},
)


def pictures(root: Path) -> Path:
    for row in ROWS:
        path = root / str(row["file_name"])
        path.parent.mkdir(parents=True)
        Image.new("L", (4, 4), 200).save(path)
    return root


def jsonl(root: Path, rows: object = ROWS) -> None:
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")  # type: ignore[call-overload]


def csv(root: Path) -> None:
    lines = ["file_name,text,size,kind", 'a/1.png,"A red, red square",3,0.5', "b/2.png,blue disc,7,-1"]
    (root / "metadata.csv").write_text("\n".join(lines))


@pytest.mark.parametrize("write", [jsonl, csv])
def test_a_column_of_text(tmp_path: Path, write: object) -> None:
    write(pictures(tmp_path))  # type: ignore[operator]
    source = open_source(str(tmp_path), condition="text")
    tokens, label = conditions_of(source)
    assert tokens == Tokens(length=4, words=("a", "blue", "disc", "red", "square"))
    assert label == ClassLabel(count=2, names=("a", "b"))
    batch = source.fetch(torch.arange(2))
    check_batch(batch, source)
    assert batch["tokens"].tolist() == [[1, 4, 4, 5], [2, 3, 0, 0]]
    assert torch.equal(tokens.parse("A red, red square"), batch["tokens"][0])


@pytest.mark.parametrize("write", [jsonl, csv])
def test_columns_of_numbers(tmp_path: Path, write: object) -> None:
    write(pictures(tmp_path))  # type: ignore[operator]
    source = open_source(str(tmp_path), condition="size,kind")
    assert conditions_of(source)[0] == Attributes(names=("size", "kind"), low=-1, high=7)
    batch = source.fetch(torch.tensor([1, 0]))
    check_batch(batch, source)
    assert batch["attributes"].tolist() == [[7, -1], [3, 0.5]]


def test_celeba_s_list(tmp_path: Path) -> None:
    pictures(tmp_path)
    (tmp_path / "list_attr_celeba.txt").write_text("2\nSmiling Male \na/1.png -1  1\nb/2.png  1 -1\n")
    source = open_source(str(tmp_path), condition="attributes")
    assert conditions_of(source)[0] == Attributes(names=("Smiling", "Male"))
    assert source.fetch(torch.arange(2))["attributes"].tolist() == [[0, 1], [1, 0]]
    one = open_source(str(tmp_path), condition="Male")
    assert one.fetch(torch.arange(2))["attributes"].tolist() == [[1], [0]]


def test_a_sentence_and_numbers_together(tmp_path: Path) -> None:
    csv(pictures(tmp_path))
    source = open_source(str(tmp_path), condition="size,text", image_size=4)
    assert [type(kind) for kind in conditions_of(source)] == [Tokens, Attributes, ClassLabel]
    batch = source.fetch(torch.arange(2))
    check_batch(batch, source)
    assert batch["attributes"].tolist() == [[3], [7]]
    assert batch["tokens"].tolist() == [[1, 4, 4, 5], [2, 3, 0, 0]]


PLACED = (
    {"file_name": "a.png", "bbox": [5, 1, 2, 3], "keypoints": [[3, 0], [9, 5]], "what": "disc"},
    {"file_name": "b.png", "bbox": [-4, 2, 8, 1.5], "keypoints": [[4, 4], [5, 5]], "what": "box"},
)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "flat"])
def test_boxes_and_key_points_in_pixels_of_the_square(tmp_path: Path, kind: str) -> None:
    """12 x 6 pixels, of which 3 ... 9 are kept, at twice the size: x 5 becomes 4. The first is stored on its side. A
    box that begins outside is clipped, a point outside is not visible."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (6, 12), 200).save(tmp_path / "a.png", exif=exif)
    Image.new("L", (12, 6), 200).save(tmp_path / "b.png")
    if kind == "csv":
        lines = [f'{r["file_name"]},"{r["bbox"]}","{r["keypoints"]}",{r["what"]}' for r in PLACED]
        (tmp_path / "metadata.csv").write_text("\n".join(["file_name,bbox,keypoints,what", *lines]))
    else:
        flat = [{**r, "keypoints": [n for point in r["keypoints"] for n in (*point, 2)]} for r in PLACED]  # type: ignore[misc, attr-defined]
        jsonl(tmp_path, flat if kind == "flat" else PLACED)
    source = open_source(str(tmp_path), condition="what,bbox,keypoints", image_size=12)
    assert [type(kind) for kind in conditions_of(source)] == [Tokens]
    batch = source.fetch(torch.arange(2))
    check_batch(batch, source)
    assert batch["box"].tolist() == [[4, 2, 8, 8], [0, 4, 2, 7]]
    assert batch["keypoints"].tolist() == [[[0, 0, 1], [12, 10, 1]], [[2, 8, 1], [4, 10, 1]]]
    assert source.chosen([1]).fetch(torch.tensor([0]))["box"].tolist() == [[0, 4, 2, 7]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"bbox": [1, 2, 3]}, r"bbox of a.png is \[1, 2, 3\]; expected \[x, y, width, height\]"),
        ({"bbox": [1, 2, 3, 0]}, "bbox of a.png is"),
        ({"bbox": [1, 2, 3, "x"]}, "bbox of a.png is"),
        ({"bbox": "[1, 2"}, "bbox of a.png is"),
        ({"bbox": None}, "bbox of a.png is"),
        ({"bbox": [20, 0, 4, 4]}, "bbox of a.png lies outside the central square"),
        ({"keypoints": []}, "keypoints of a.png is"),
        ({"keypoints": [1, 2]}, "keypoints of a.png is"),
        ({"keypoints": [[1]]}, "keypoints of a.png is"),
        ({"keypoints": [[1, None]]}, "keypoints of a.png is"),
    ],
)
def test_places_that_are_none(tmp_path: Path, row: dict[str, object], message: str) -> None:
    Image.new("L", (4, 4), 200).save(tmp_path / "a.png")
    jsonl(tmp_path, [{"file_name": "a.png", **row}])
    with pytest.raises(GencoreError, match=message):
        open_source(str(tmp_path), condition=next(iter(row)))


def test_as_many_key_points_for_every_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("L", (4, 4), 200).save(tmp_path / name)
    jsonl(tmp_path, [{"file_name": "a.png", "keypoints": [[1, 1]]}, {"file_name": "b.png", "keypoints": [[1, 1]] * 2}])
    with pytest.raises(GencoreError, match=r"keypoints of b.png .* for every picture as many"):
        open_source(str(tmp_path), condition="keypoints")


@files
@given(
    content=st.binary(max_size=200), kind=st.sampled_from(["metadata.jsonl", "metadata.csv", "list_attr_celeba.txt"])
)
def test_random_bytes_are_refused_or_read(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / kind
    path.write_bytes(content)
    with contextlib.suppress(GencoreError):
        read_metadata(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=8,
)


@files
@given(
    values=st.lists(st.fixed_dictionaries({"bbox": JSON, "keypoints": JSON, "text": JSON, "size": JSON}), min_size=1)
)
@example(values=[{"bbox": [1, 2, 3, 4], "keypoints": [1, 2, 3], "text": "a", "size": 10**400}])
@example(values=[{"bbox": [1, 2, 3, 4], "keypoints": [[1, 2, 3]], "text": "a", "size": 1}])
@pytest.mark.parametrize("wanted", ["bbox", "keypoints", "text,size", "attributes"])
def test_any_values_are_refused_or_read(wanted: str, values: list[dict[str, object]]) -> None:
    rows = {str(i): row for i, row in enumerate(values)}
    with contextlib.suppress(GencoreError):
        told = condition_from(rows, list(rows), wanted, "metadata.jsonl")
        assert all(len(value) == len(rows) for value in (*told.tensors.values(), *told.places.values()))


def test_what_is_not_asked_for_is_said(tmp_path: Path) -> None:
    jsonl(pictures(tmp_path))
    with pytest.warns(UserWarning, match=r"metadata\.jsonl is left out of account.*--condition\): text, size, kind"):
        source = open_source(str(tmp_path))
    assert conditions_of(source) == (ClassLabel(count=2, names=("a", "b")),)


@pytest.mark.parametrize(
    ("content", "condition", "message"),
    [
        (None, "txt", "no column 'txt'.*Did you mean 'text'"),
        (None, "text,other", "no column 'other'"),
        (
            '{"file_name": "a/1.png", "a": "x", "b": "y"}\n{"file_name": "b/2.png", "a": "x", "b": 1}',
            "a,b",
            "one column of",
        ),
        ('{"file_name": "a/1.png", "n": 1' + "0" * 400 + '}\n{"file_name": "b/2.png", "n": 1}', "n", "not all numbers"),
        ('{"file_name": "a/1.png", "text": "x"}\n', "text", r"says nothing of 1 pictures: b/2\.png"),
        ("{}\n", "text", "line 1 has the columns"),
        ("nonsense\n", "text", "line 1 is no JSON"),
        ("[1]\n", "text", "line 1 is no object"),
        ("[" * 100_000 + "\n", "text", "line 1 is no JSON"),
        ('{"file_name": "a/1.png"}\n{"file_name": "b/2.png", "text": "x"}\n', "text", "line 2 has the columns"),
        ('{"file_name": "a/1.png"}\n{"file_name": "a/1.png"}\n', "text", "line 2: 'a/1.png' stands in it twice"),
        ('{"file_name": 3}\n', "text", "line 1 has the columns"),
        ('{"file_name": "a/1.png", "text": null}\n{"file_name": "b/2.png", "text": "x"}\n', "text", "not all numbers"),
        ('{"file_name": "a/1.png", "text": ""}\n{"file_name": "b/2.png", "text": ""}\n', "text", "holds no words"),
        ("\udce4", "text", "cannot be read"),
        ("", "text", "says nothing of 2 pictures"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: str | None, condition: str, message: str) -> None:
    jsonl(pictures(tmp_path))
    if content is not None:
        (tmp_path / "metadata.jsonl").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(GencoreError, match=message):
        open_source(str(tmp_path), condition=condition)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("3\nSmiling\na/1.png 1\nb/2.png 1\n", "announces 3 rows and has 2"),
        ("2\nSmiling\na/1.png 1 1\nb/2.png 1\n", "line 3 has 2 values for 1 attributes"),
        ("Smiling\n", "does not begin with a count"),
        ("9" * 5000 + "\nSmiling\n", "does not begin with a count"),
        ("2\nSmiling Smiling\na/1.png 1 1\nb/2.png 1 1\n", "has an attribute twice"),
        ("2\nSmiling\na/1.png 1\na/1.png 1\n", "line 4: 'a/1.png' stands in it twice"),
    ],
)
def test_a_damaged_list_of_celeba(tmp_path: Path, content: str, message: str) -> None:
    pictures(tmp_path)
    (tmp_path / "list_attr_celeba.txt").write_text(content)
    with pytest.raises(GencoreError, match=message):
        open_source(str(tmp_path), condition="attributes")


@pytest.mark.parametrize(
    "content",
    ["file_name,text\na/1.png,x,y\nb/2.png,z\n", "file_name,text\na/1.png,x\nb/2.png,one, two, three\n"],
)
def test_a_line_of_more_cells_than_the_header(tmp_path: Path, content: str) -> None:
    pictures(tmp_path)
    (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(GencoreError, match=r"line [23] has more cells than the header.*in quotation marks"):
        open_source(str(tmp_path), condition="text")


def test_a_condition_without_metadata_or_with_two_files(tmp_path: Path) -> None:
    pictures(tmp_path)
    with pytest.raises(GencoreError, match=r"condition is 'text', but .* holds no metadata\.jsonl"):
        open_source(str(tmp_path), condition="text")
    jsonl(tmp_path)
    csv(tmp_path)
    with pytest.raises(GencoreError, match=r"holds metadata\.jsonl and metadata\.csv; keep one"):
        open_source(str(tmp_path), condition="text")
