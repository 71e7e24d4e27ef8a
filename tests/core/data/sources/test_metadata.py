from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from gencore.conditions import Attributes, ClassLabel, Tokens
from gencore.data import check_batch, open_source
from gencore.data.source import conditions_of
from gencore.errors import GencoreError

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


def test_what_is_not_asked_for_is_said(tmp_path: Path) -> None:
    jsonl(pictures(tmp_path))
    with pytest.warns(UserWarning, match=r"metadata\.jsonl is left out of account.*--condition\): text, size, kind"):
        source = open_source(str(tmp_path))
    assert conditions_of(source) == (ClassLabel(count=2, names=("a", "b")),)


@pytest.mark.parametrize(
    ("content", "condition", "message"),
    [
        (None, "txt", "no column 'txt'.*Did you mean 'text'"),
        (None, "text,size", "are not all numbers"),
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
    ],
)
def test_a_damaged_list_of_celeba(tmp_path: Path, content: str, message: str) -> None:
    pictures(tmp_path)
    (tmp_path / "list_attr_celeba.txt").write_text(content)
    with pytest.raises(GencoreError, match=message):
        open_source(str(tmp_path), condition="attributes")


def test_a_condition_without_metadata_or_with_two_files(tmp_path: Path) -> None:
    pictures(tmp_path)
    with pytest.raises(GencoreError, match=r"condition is 'text', but .* holds no metadata\.jsonl"):
        open_source(str(tmp_path), condition="text")
    jsonl(tmp_path)
    csv(tmp_path)
    with pytest.raises(GencoreError, match=r"holds metadata\.jsonl and metadata\.csv; keep one"):
        open_source(str(tmp_path), condition="text")
