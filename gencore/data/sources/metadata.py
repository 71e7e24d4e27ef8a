"""What is written about pictures in a file beside them: sentences, numbers by name, boxes, key points.

metadata.jsonl, metadata.csv   a row a picture: file_name, and columns of text or numbers (Hugging Face's ImageFolder)
list_attr_celeba.txt, .csv     a row a picture: its name, and 1 or -1 for each attribute (CelebA); -1 becomes 0

Two columns say where something is, in pixels of the upright picture, as COCO has them; in a .csv file they are JSON:
bbox        [x, y, width, height]
keypoints   [[x, y], ...], [[x, y, visible], ...], or the latter without the inner brackets; visible from 1 on
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from gencore.conditions import Attributes, Tokens
from gencore.data.opening_rules import shorten
from gencore.data.regular import open_regular
from gencore.data.sources.listing import METADATA, shown
from gencore.errors import GencoreError, suggest

MAX_BYTES = 2**30
MOST = 1e30  # of a number
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
        columns = reader.fieldnames or ()
        if len(set(columns)) < len(columns):
            raise GencoreError(f"{path} has a column twice, of {shown(columns)}; keep one of them.")
        rows = [(reader.line_num, {str(name): value for name, value in row.items()}) for row in reader]
        if unnamed := [number for number, row in rows if len(row) > len(columns)]:
            raise GencoreError(
                f"{path}, line {unnamed[0]} has more cells than the header, {shown(columns)}. Put a cell that holds a "
                "comma in quotation marks."
            )
        return _rows(rows, path)
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
    if len(lines) < 2 or not lines[0].strip().isdecimal() or len(lines[0]) > 20:
        raise GencoreError(f"{path} does not begin with a count and a line of names, as CelebA's list does.")
    names = lines[1].split()
    if len(set(names)) < len(names):
        raise GencoreError(f"{path} has an attribute twice; keep one of them.")
    rows = [(number, line.split()) for number, line in enumerate(lines[2:], 3) if line.strip()]
    for number, words in rows:
        if len(words) != len(names) + 1:
            raise GencoreError(f"{path}, line {number} has {len(words) - 1} values for {len(names)} attributes.")
    if len(rows) != int(lines[0]):
        raise GencoreError(f"{path} announces {lines[0].strip()} rows and has {len(rows)}: it is cut short.")
    return _rows([(n, {"file_name": words[0], **dict(zip(names, words[1:], strict=True))}) for n, words in rows], path)


class Described(NamedTuple):
    """The conditions that columns give, their tensors by key, a row for each picture, and the places: of `bbox`
    (N, 4) float64, x, y, width, height, of `keypoints` (N, K, 3) float64, x, y, visible (0 or 1)."""

    conditions: tuple[Tokens | Attributes, ...]
    tensors: Mapping[str, Tensor]
    places: Mapping[str, Tensor]


def condition_from(rows: Rows, files: Sequence[str], wanted: str, where: str) -> Described:
    """What the columns that `wanted` names say of each of `files`.

    wanted: columns with commas between: at most one of text (Tokens: its words in lower case, commas dropped), any of
    numbers (Attributes), bbox, keypoints; or "attributes" for all of them.
    Raises GencoreError for a column or a picture that does not stand there, and for mixed kinds.
    """
    if missing := [name for name in files if name not in rows]:
        raise GencoreError(f"{where} says nothing of {len(missing)} pictures: {shown(missing)}.")
    columns = list(next(iter(rows.values())))
    names = columns if wanted == "attributes" and wanted not in columns else [w.strip() for w in wanted.split(",")]
    if unknown := [name for name in names if name not in columns]:
        raise GencoreError(f"{where} has no column {unknown[0]!r}.{suggest(unknown[0], columns)}")
    values = {name: [rows[file][name] for file in files] for name in names}
    places = {name: _places(name, values.pop(name), files, where) for name in PLACES if name in values}
    texts = [name for name, column in values.items() if any(_number(value) is None for value in column)]
    if len(texts) > 1 or not all(isinstance(value, str) for name in texts for value in values[name]):
        raise GencoreError(f"{where}: {shown(texts)} are not all numbers; expected numbers, or one column of text.")
    conditions: list[Tokens | Attributes] = []
    tensors: dict[str, Tensor] = {}
    for name in texts:
        words, tensors["tokens"] = _tokens(values.pop(name))
        conditions.append(words)
    if values:
        numbers = torch.tensor([[_number(value) for value in column] for column in values.values()]).double().T
        kind, tensors["attributes"] = _attributes(tuple(values), numbers)
        conditions.append(kind)
    return Described(tuple(conditions), tensors, places)


def _places(name: str, column: Sequence[Any], files: Sequence[str], where: str) -> Tensor:
    """A column of boxes or key points, as in Described. Raises GencoreError, with the picture."""
    read = [PLACES[name](_listed(value)) for value in column]
    for file, value, place in zip(files, column, read, strict=True):
        if place is None or place.shape != (read[0].shape if read[0] is not None else None):
            raise GencoreError(
                f"{where}: {name} of {file} is {shorten(value)}; expected {EXPECTED[name]}, for every picture as many."
            )
    return torch.stack([place for place in read if place is not None])


def _listed(value: Any) -> Any:
    """The value; of text, what it is as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _box(value: Any) -> Tensor | None:
    numbers = [_number(item) for item in value] if isinstance(value, list) else []
    if len(numbers) != 4 or None in numbers:
        return None
    box = torch.tensor(numbers, dtype=torch.float64)
    return box if bool((box[2:] > 0).all()) else None


def _points(value: Any) -> Tensor | None:
    if not isinstance(value, list) or not value:
        return None
    triples = value if isinstance(value[0], list) else [value[i : i + 3] for i in range(0, len(value), 3)]
    if not all(isinstance(point, list) and len(point) in (2, 3) for point in triples):
        return None
    numbers = [[_number(item) for item in (*point, 1)[:3]] for point in triples]
    if any(number is None for point in numbers for number in point) or (triples is not value and len(value) % 3):
        return None
    points = torch.tensor(numbers, dtype=torch.float64)
    points[:, 2] = (points[:, 2] >= 1).double()
    return points


PLACES: Final = {"bbox": _box, "keypoints": _points}
EXPECTED: Final = {"bbox": "[x, y, width, height]", "keypoints": "[[x, y], ...] or [[x, y, visible], ...]"}


def in_square(places: Mapping[str, Tensor], sizes: Tensor, size: int, files: Sequence[str]) -> dict[str, Tensor]:
    """Places (see Described) in pixels of the central squares of pictures, resized to `size`: box (N, 4) float32, x0,
    y0, x1, y1, clipped to the square; keypoints (N, K, 3) float32, those outside all 0.

    sizes: (N, 2), width and height of the upright pictures. Raises GencoreError for a box outside the square.
    """
    side = sizes.amin(1, keepdim=True).double()
    corner, scale = ((sizes - side) / 2).floor(), size / side
    out = {}
    if (box := places.get("bbox")) is not None:
        corners = torch.cat([box[:, :2] - corner, box[:, :2] + box[:, 2:] - corner], 1) * scale
        inside = corners.clamp(0, size)
        if not (kept := (inside[:, :2] < inside[:, 2:]).all(1)).all():
            file = files[int(kept.int().argmin())]
            raise GencoreError(f"the bbox of {file} lies outside the central square that is kept: crop the picture.")
        out["box"] = inside.float()
    if (points := places.get("keypoints")) is not None:
        moved = (points[..., :2] - corner[:, None]) * scale[:, None]
        seen = points[..., 2:] * ((moved >= 0) & (moved <= size)).all(2, keepdim=True)
        out["keypoints"] = (torch.cat([moved, seen], 2) * seen).float()
    return out


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < MOST else None


def _attributes(names: tuple[str, ...], values: Tensor) -> tuple[Attributes, Tensor]:
    if bool(((values == 1) | (values == -1)).all()):
        values = (values + 1) / 2
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    return Attributes(names=names, low=low, high=high), values.float()


def _tokens(sentences: Sequence[str]) -> tuple[Tokens, Tensor]:
    split = [sentence.lower().replace(",", " ").split() for sentence in sentences]
    words = tuple(sorted({word for sentence in split for word in sentence}))
    length = max(map(len, split))
    if not words:
        raise GencoreError("the column holds no words; expected sentences.")
    number = {word: k for k, word in enumerate(words, 1)}
    tokens = [[number[word] for word in sentence] + [0] * (length - len(sentence)) for sentence in split]
    return Tokens(length=length, words=words), torch.tensor(tokens)
