"""What is written about pictures in a file beside them: sentences, or numbers by name.

metadata.jsonl, metadata.csv   a row a picture: file_name, and columns of text or numbers (Hugging Face's ImageFolder)
list_attr_celeba.txt, .csv     a row a picture: its name, and 1 or -1 for each attribute (CelebA); -1 becomes 0
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from gencore.conditions import Attributes, Tokens
from gencore.data.regular import open_regular
from gencore.data.sources.listing import METADATA, shown
from gencore.errors import GencoreError, suggest

MAX_BYTES = 2**30
Rows = dict[str, dict[str, Any]]


def find_metadata(root: Path) -> Path | None:
    """The file that says something about the pictures in `root`. Raises GencoreError for two of them."""
    found = [root / name for name in METADATA if (root / name).exists()]
    if len(found) > 1:
        raise GencoreError(f"{root} holds {' and '.join(path.name for path in found)}; keep one of them.")
    return found[0] if found else None


def read_metadata(path: Path) -> Rows:
    """{file name: {column: value}}; all rows have the same columns.

    Raises GencoreError, with the line, for a file that cannot be read so.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise GencoreError(f"{path} is larger than {MAX_BYTES} bytes.")
        lines = data.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GencoreError(f"{path} cannot be read: {error}.") from error
    if path.suffix == ".txt":
        return _celeba(lines, path)
    if path.suffix == ".jsonl":
        return _rows([(n, _object(line, n, path)) for n, line in enumerate(lines, 1) if line.strip()], path)
    reader = csv.DictReader(lines)
    try:
        return _rows([(reader.line_num, dict(row)) for row in reader], path)
    except csv.Error as error:
        raise GencoreError(f"{path}, line {reader.line_num}: {error}.") from error


def _object(line: str, number: int, path: Path) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise GencoreError(f"{path}, line {number} is no JSON: {error}.") from error
    if not isinstance(row, dict):
        raise GencoreError(f'{path}, line {number} is no object; expected {{"file_name": ..., ...}}.')
    return row


def _rows(rows: Sequence[tuple[int, dict[str, Any]]], path: Path) -> Rows:
    out: Rows = {}
    columns = set(rows[0][1]) if rows else set()
    name_column = next((name for name in ("file_name", "image_id") if name in columns), "file_name")
    for number, row in rows:
        name = row.get(name_column)
        if not isinstance(name, str) or set(row) != columns:
            raise GencoreError(
                f"{path}, line {number} has the columns {shown(map(str, row))}; expected file_name and the same "
                "columns in every line."
            )
        if str(PurePosixPath(name)) in out:
            raise GencoreError(f"{path}, line {number}: {name!r} stands in it twice.")
        out[str(PurePosixPath(name))] = {key: value for key, value in row.items() if key != name_column}
    return out


def _celeba(lines: Sequence[str], path: Path) -> Rows:
    if len(lines) < 2 or not lines[0].strip().isdecimal():
        raise GencoreError(f"{path} does not begin with a count and a line of names, as CelebA's list does.")
    names = lines[1].split()
    rows = [(number, line.split()) for number, line in enumerate(lines[2:], 3) if line.strip()]
    for number, words in rows:
        if len(words) != len(names) + 1:
            raise GencoreError(f"{path}, line {number} has {len(words) - 1} values for {len(names)} attributes.")
    if len(rows) != int(lines[0]):
        raise GencoreError(f"{path} announces {lines[0].strip()} rows and has {len(rows)}: it is cut short.")
    return {words[0]: dict(zip(names, words[1:], strict=True)) for _, words in rows}


def condition_from(
    rows: Rows, files: Sequence[str], wanted: str, where: str
) -> tuple[Tokens | Attributes, Mapping[str, Tensor]]:
    """The condition that `wanted` names, and its tensor by key, a row for each of `files`.

    wanted: a column of text (Tokens: its words in lower case, commas dropped), a column of numbers or several with
    commas between (Attributes), or "attributes" for all of them.
    Raises GencoreError for a column or a picture that does not stand there, and for mixed kinds.
    """
    if missing := [name for name in files if name not in rows]:
        raise GencoreError(f"{where} says nothing of {len(missing)} pictures: {shown(missing)}.")
    columns = list(next(iter(rows.values())))
    names = columns if wanted == "attributes" and wanted not in columns else [w.strip() for w in wanted.split(",")]
    if unknown := [name for name in names if name not in columns]:
        raise GencoreError(f"{where} has no column {unknown[0]!r}.{suggest(unknown[0], columns)}")
    values = [[rows[file][name] for name in names] for file in files]
    numbers = [[_number(value) for value in row] for row in values]
    if all(number is not None for row in numbers for number in row):
        return _attributes(tuple(names), torch.tensor(numbers, dtype=torch.float64))
    if len(names) > 1 or not all(isinstance(row[0], str) for row in values):
        raise GencoreError(f"{where}: {shown(names)} are not all numbers; expected numbers, or one column of text.")
    return _tokens([row[0] for row in values])


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None


def _attributes(names: tuple[str, ...], values: Tensor) -> tuple[Attributes, dict[str, Tensor]]:
    if bool(((values == 1) | (values == -1)).all()):
        values = (values + 1) / 2
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    return Attributes(names=names, low=low, high=high), {"attributes": values.float()}


def _tokens(sentences: Sequence[str]) -> tuple[Tokens, dict[str, Tensor]]:
    split = [sentence.lower().replace(",", " ").split() for sentence in sentences]
    words = tuple(sorted({word for sentence in split for word in sentence}))
    length = max(map(len, split))
    if not words:
        raise GencoreError("the column holds no words; expected sentences.")
    number = {word: k for k, word in enumerate(words, 1)}
    tokens = [[number[word] for word in sentence] + [0] * (length - len(sentence)) for sentence in split]
    return Tokens(length=length, words=words), {"tokens": torch.tensor(tokens)}
