"""Text from files: units, splits, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gencore.data import check_batch, open_source
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
