"""Text as sequences of tokens.

key   shape, dtype
x     (N, length, size) float32 in {0, 1}: the tokens, one-hot over the vocabulary, made when fetched

A vocabulary is a tuple of `size` different strings, and says how text becomes tokens: BYTES for UTF-8's bytes, single
characters for characters, one that ends in "<|endoftext|>" for byte pairs (gencore.data.sources.byte_pairs), anything
else for words and marks between spaces. Its last token stands for an end: byte 255, which UTF-8 never has, and "\\n"
for characters and words. Models take it as what stands before the first token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from gencore.data.opening_rules import refuse, shorten
from gencore.data.options import OpenOptions, Split
from gencore.data.sequences import Sequences
from gencore.data.sources import byte_pairs
from gencore.errors import GencoreError, suggest

Unit = Literal["bytes", "characters", "words", "bpe"]

UNITS: tuple[Unit, ...] = get_args(Unit)
BYTES = tuple(chr(byte) for byte in range(256))
END = "\n"
LENGTH = 64
TEST_SHARE = 0.1
MAX_WORDS = 20_000

_PIECES = re.compile(r"\w+|[^\w\s]|\n")


def unit_of(vocabulary: Sequence[str]) -> Unit:
    """What a vocabulary's tokens are."""
    if tuple(vocabulary) == BYTES:
        return "bytes"
    if vocabulary and vocabulary[-1] == byte_pairs.END:
        return "bpe"
    return "characters" if all(len(token) == 1 for token in vocabulary) else "words"


def pieces(text: str, unit: Unit) -> list[str]:
    """The tokens of a text, as they stand in vocabularies, byte pairs aside. Of words: letters and digits, a mark, a
    line's end."""
    if unit == "bytes":
        return [chr(byte) for byte in text.encode()]
    return list(text) if unit == "characters" else _PIECES.findall(text)


def vocabulary_of(text: str, unit: Unit, size: int = byte_pairs.SIZE) -> tuple[str, ...]:
    """The vocabulary in which all of a text can be written; `size`: of byte pairs, at most. Raises GencoreError for
    more than MAX_WORDS tokens, and as byte_pairs.learned."""
    if unit == "bytes":
        return BYTES
    if unit == "bpe":
        return byte_pairs.learned(text, size)
    found = (*sorted(set(pieces(text, unit)) - {END}), END)
    if len(found) > MAX_WORDS:
        raise GencoreError(f"the text has {len(found)} different {unit}; expected at most {MAX_WORDS}. Use bytes.")
    return found


def encode(text: str, vocabulary: Sequence[str]) -> Tensor:
    """The tokens of a text, (T,) int64. Raises GencoreError for what the vocabulary does not have."""
    if unit_of(vocabulary) == "bpe":
        return torch.tensor(byte_pairs.encode(text, vocabulary), dtype=torch.int64)
    number = {token: place for place, token in enumerate(vocabulary)}
    found = pieces(text, unit_of(vocabulary))
    if unknown := [piece for piece in found if piece not in number]:
        raise GencoreError(
            f"{unknown[0]!r} in {shorten(text)} is not in the vocabulary of {len(number)} {unit_of(vocabulary)}."
            f"{suggest(unknown[0], number)}"
        )
    return torch.tensor([number[piece] for piece in found], dtype=torch.int64)


def decode(tokens: Tensor, vocabulary: Sequence[str]) -> str:
    """The text of tokens (T,) int64: words with spaces between them; bytes that are no UTF-8 become U+FFFD."""
    unit = unit_of(vocabulary)
    if unit == "bpe":
        return byte_pairs.decode(tokens.tolist(), vocabulary)
    written = [vocabulary[token] for token in tokens.tolist()]
    joined = (" " if unit == "words" else "").join(written)
    return joined.encode("latin-1").decode(errors="replace") if unit == "bytes" else joined


def read(path: str) -> str:
    """A text file, or all .txt files in a folder and those below it, by name, a line's end between them; or, for
    hf://datasets/ORG/NAME[@REVISION], the rows of that data set's train part, its column "text" or its only one of
    texts.

    Raises GencoreError: no such path, none in the folder, no UTF-8; PluginError without gencore[hf] for the Hub.
    """
    if path.startswith("hf:"):
        from gencore.data.sources.hub import read_texts

        return END.join(read_texts(path.removeprefix("hf:")))
    place = Path(path).expanduser()
    if not place.exists():
        raise GencoreError(f"text: there is no file or folder {shorten(path)}.")
    files = sorted(place.rglob("*.txt")) if place.is_dir() else [place]
    if not files:
        raise GencoreError(f"text: {shorten(path)} holds no .txt file.")
    texts = []
    for file in files:
        try:
            texts.append(file.read_bytes().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise GencoreError(f"text: {file} is not UTF-8: {error}. Convert it first.") from error
    return END.join(texts)


def text(
    path: str,
    *,
    unit: Unit = "bytes",
    length: int = LENGTH,
    split: Split = "train",
    size: int = byte_pairs.SIZE,
    vocabulary: Sequence[str] = (),
) -> Sequences:
    """What `read` reads, cut into pieces of `length` tokens: what is left over at the end is dropped.

    The last tenth of the tokens is the "test" split. The vocabulary is that of all the text in every split, of byte
    pairs at most `size` tokens; or the one that is given, such as a trained model's, whose unit it then has.
    Raises GencoreError for a bad length, unit or size, for what a given vocabulary does not have, and where a split has
    fewer than `length` tokens.
    """
    if length < 1 or unit not in UNITS:
        raise GencoreError(f"length is {length} and unit {unit!r}; expected at least 1, and one of {', '.join(UNITS)}.")
    whole = read(path)
    known = tuple(vocabulary) or vocabulary_of(whole, unit, size)
    unit = unit_of(known)
    tokens = encode(whole, known)
    first = len(tokens) - int(TEST_SHARE * len(tokens))
    part = {"train": tokens[:first], "test": tokens[first:], "all": tokens}[split]
    count = len(part) // length
    if not count:
        raise GencoreError(f"text: {shorten(path)} has {len(part)} {unit} ({split}); expected {length} or more.")
    return Sequences(
        tokens=part[: count * length].view(count, length), vocabulary=known, name=f"{path} ({unit}, {split})"
    )


def open_text(argument: str, options: OpenOptions) -> Sequences:
    """text:PATH, or text:PATH,UNIT or text:PATH,UNIT,LENGTH; bpe4096 is a unit of at most 4096 byte pairs. Raises
    GencoreError as `text`, and for other options."""
    spec = f"text:{argument}"
    refuse(options, spec, "skip_corrupt", "data_range", "column", "image_size")
    if not argument:
        raise GencoreError("text: needs a file or folder: text:PATH, such as text:book.txt or text:book.txt,words,32.")
    form = re.fullmatch(
        rf"(?P<path>.+?)(,(?P<unit>{'|'.join(UNITS)})(?P<size>(?<=bpe)\d+)?(,(?P<length>\d+))?)?", argument, re.DOTALL
    )
    assert form is not None
    unit: Unit = next((unit for unit in UNITS if unit == form["unit"]), "bytes")
    length, size = int(form["length"] or LENGTH), int(form["size"] or byte_pairs.SIZE)
    return text(form["path"], unit=unit, length=length, split=options.split, size=size)
