"""Text from files: units, splits, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gencore.data import check_batch, open_source
from gencore.data.sources import byte_pairs
from gencore.data.sources.text import BYTES, decode, encode, text, unit_of, vocabulary_of


@pytest.mark.parametrize("unit", ["bytes", "characters"])
def test_text_and_back(unit: str) -> None:
    written = "Zoë's 2 cats.\nOne ate — the other slept."
    vocabulary = vocabulary_of(written, unit)  # type: ignore[arg-type]
    assert unit_of(vocabulary) == unit
    tokens = encode(written, vocabulary)
    assert decode(tokens, vocabulary) == written
    assert len(tokens) == (len(written.encode()) if unit == "bytes" else len(written))
    assert int(tokens.max()) < len(vocabulary) - (unit == "bytes")


def test_words() -> None:
    vocabulary = vocabulary_of("a cat, a hat.\n", "words")
    assert vocabulary == (",", ".", "a", "cat", "hat", "\n")
    assert encode("hat, cat\n", vocabulary).tolist() == [4, 0, 3, 5]
    assert decode(torch.tensor([2, 4, 1]), vocabulary) == "a hat ."
    with pytest.raises(ValueError, match=r"'bat' .* not in the vocabulary of 6 words.*cat"):
        encode("a bat", vocabulary)


def test_broken_bytes_are_shown_as_such() -> None:
    assert decode(torch.tensor([97, 0xC3]), BYTES) == "a\N{REPLACEMENT CHARACTER}"


def test_files_in_a_folder_by_name_and_split(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("b" * 50)
    (tmp_path / "a.txt").write_text("a" * 49)
    (tmp_path / "c.md").write_text("c" * 500)
    train = open_source(f"text:{tmp_path},characters,10")
    test = open_source(f"text:{tmp_path},characters,10", split="test")
    whole = open_source(f"text:{tmp_path},characters,10", split="all")
    assert train.shape == test.shape == (10, 3)
    assert (len(train), len(test), len(whole)) == (9, 1, 10)
    batch = whole.fetch(torch.tensor([4, 9]))
    check_batch(batch, whole)
    tokens = batch["x"].argmax(2)
    assert [decode(row, ("a", "b", "\n")) for row in tokens] == ["a" * 9 + "\n", "b" * 10]
    assert open_source(f"text:{tmp_path}/a.txt,bytes,7").shape == (7, 256)
    assert text(str(tmp_path / "b.txt"), length=5).shape == (5, 256)


def test_a_comma_in_a_path_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "x,words.txt").write_text("one two " * 100)
    assert open_source(f"text:{tmp_path}/x,words.txt,words").shape == (64, 3)


def test_refusals(tmp_path: Path) -> None:
    for argument, message in (
        ("", "needs a file or folder"),
        (f"{tmp_path}/none.txt", "no file or folder"),
        (str(tmp_path), "holds no .txt"),
    ):
        with pytest.raises(ValueError, match=message):
            open_source(f"text:{argument}")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ValueError, match=r"bad.txt is not UTF-8"):
        open_source(f"text:{tmp_path}")
    (tmp_path / "bad.txt").write_text("short")
    with pytest.raises(ValueError, match="has 5 bytes .* expected 64"):
        open_source(f"text:{tmp_path}")
    with pytest.raises(ValueError, match="length is 0"):
        open_source(f"text:{tmp_path},bytes,0")
    with pytest.raises(ValueError, match="image_size is 8"):
        open_source(f"text:{tmp_path}", image_size=8)


def test_a_text_file_by_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("a cat sat. " * 100)
    assert open_source(f"{tmp_path}/book.txt").shape == (64, 256)
    with pytest.raises(ValueError, match="image_size is 8"):
        open_source(f"{tmp_path}/book.txt", image_size=8)


def test_byte_pairs(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("a cat sat on a mat. " * 100)
    source = open_source(f"text:{tmp_path}/book.txt,bpe262,8")
    assert source.shape == (8, 262)
    assert source.vocabulary[-1] == byte_pairs.END
    assert decode(source.fetch(torch.tensor([0]))["x"][0].argmax(1), source.vocabulary).startswith("a cat sat")
    assert open_source(f"text:{tmp_path}/book.txt,bpe,8").shape[1] < 1024
    with pytest.raises(ValueError, match="shall have 200 tokens; expected 257"):
        open_source(f"text:{tmp_path}/book.txt,bpe200")


def test_the_vocabulary_of_another_text(tmp_path: Path) -> None:
    """A model's tokens for a text that it has not seen."""
    (tmp_path / "a.txt").write_text("a cat sat on a mat.\n" * 100)
    (tmp_path / "b.txt").write_text("a mat on a cat.\n" * 100)
    known = text(str(tmp_path / "a.txt"), unit="words").vocabulary
    other = text(str(tmp_path / "b.txt"), vocabulary=known, length=6)
    assert other.vocabulary == known
    assert decode(other.tokens[0], known) == "a mat on a cat ."
    with pytest.raises(ValueError, match="'sat' in .* is not in the vocabulary"):
        text(str(tmp_path / "a.txt"), vocabulary=text(str(tmp_path / "b.txt"), unit="words").vocabulary)


class Table(dict[str, list[Any]]):
    """As much of a datasets.Dataset as is read: columns, and the types of their cells."""

    @property
    def features(self) -> dict[str, Any]:
        return {name: SimpleNamespace(dtype="string" if name != "label" else "int64") for name in self}


def test_the_rows_of_a_hub_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its train part, the column of texts; the last tenth of the tokens is the test split, as everywhere."""
    asked, tables = [], [Table(label=[0, 1, 1], text=["abc", None, "de"] * 20, title=["x"] * 60)] * 3
    tables += [Table(label=[0], body=["abcdefghij" * 10]), Table(label=[0]), Table(a=["x"], b=["y"])]

    def load_dataset(name: str, *, revision: str | None, split: str) -> Table:
        asked.append((name, revision, split))
        return tables[len(asked) - 1]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    parts = [open_source("text:hf://datasets/a/b@v1,characters,7", split=split) for split in ("train", "test", "all")]
    assert asked[0] == ("a/b", "v1", "train")
    assert [len(part) for part in parts] == [18, 1, 19]
    assert decode(parts[0].tokens[0], parts[0].vocabulary) == "abc\nde\n"
    assert open_source("text:hf://datasets/a/b,bytes,10").shape == (10, 256)
    for shown in ("none, of label", "a, b, of a, b"):
        with pytest.raises(ValueError, match=f"columns of texts {shown}; expected one"):
            open_source("text:hf://datasets/a/b")
    with pytest.raises(ValueError, match="is no Hub data set"):
        open_source("text:hf://models/a/b")


def test_a_parquet_file_through_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The datasets library itself, which takes a folder of that name for the repository; nothing is asked of a server.
    Rows without a text are left out, and the train part is read alone."""
    pytest.importorskip("datasets")
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "org" / "name" / "data"
    folder.mkdir(parents=True)
    for part, texts in (("train", ["abc", None, "d\u00e9"] * 20), ("test", ["never"] * 20)):
        table = arrow.table({"label": [0, 1, 2] * 20 if part == "train" else [0] * 20, "text": texts})
        parquet.write_table(table, folder / f"{part}-00000-of-00001.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    source = open_source("text:hf://datasets/org/name,characters,7", split="all")
    assert decode(source.tokens[0], source.vocabulary) == "abc\nd\u00e9\n"
    assert source.vocabulary == ("a", "b", "c", "d", "\u00e9", "\n")
    assert len(source) == (20 * 7 - 1) // 7
