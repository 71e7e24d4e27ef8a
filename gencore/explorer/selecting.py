"""Places of a map that somebody drew round: which examples they are, and a list of labels of them."""

from __future__ import annotations

import dataclasses
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gencore.errors import GencoreError
from gencore.explorer.commands import Output, typed

SHOWN, SIZE, MAX_POINTS = 60, 800, 5000
Point = tuple[float, float]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """How many were selected, `pictures` of the first of them, and the `labels` of these and of those before."""

    count: int
    pictures: Output
    labels: Output
    labelled: int
    words: tuple[str, ...]
    command: str


def select(model: str, given: Mapping[str, Any], before: bytes = b"") -> Selected:
    """The examples whose places on the map lie within the lasso or rectangle of a form, called by its `word`; `before`
    is an earlier list of labels, to which they are added.

    Raises GencoreError where none lies there, and for what the map's command would not take.
    """
    import gencore
    from gencore.cli.apply import open_for
    from gencore.data.images import grid
    from gencore.data.label_lists import label_list, labelled
    from gencore.data.parts import example_names
    from gencore.latent import encode_all, latent_map, pixels_of

    word = str(given.get("word") or "").strip()
    if not word:
        raise GencoreError("The label is empty; expected a word for what is selected.")
    loaded: Any = gencore.from_pretrained(model)
    data = str(given.get("data") or "")
    source = open_for(loaded, data)
    codes = encode_all(loaded, source, limit=_whole(given, "n"))
    method: Any = given.get("method") or "pca"
    places = pixels_of(latent_map(codes.z, method=method, seed=_whole(given, "seed")), size=SIZE)
    chosen = codes.index[within(places / SIZE, outline(given))]
    if not len(chosen):
        raise GencoreError("No place lies there: draw round some, or choose a larger rectangle.")
    rows = _rows(before, example_names(source, codes.index))
    rows |= {name: {"label": word} for name in example_names(source, chosen)}
    x, buffer = source.fetch(chosen[:SHOWN])["x"], io.BytesIO()
    if x.ndim == 4:
        grid(x.clamp(-1, 1), columns=12).save(buffer, format="PNG")
    words = labelled(rows)
    command = ["gencore", "edit", model, "picture.png", "--labels", "labels.csv", "--plus", word, "--data", data]
    return Selected(
        count=len(chosen),
        pictures=Output(said="", content=buffer.getvalue(), name="selected.png"),
        labels=Output(said="", content=label_list(rows), name="labels.csv"),
        labelled=len(words),
        words=tuple(sorted(set(words.values()))),
        command=typed(command),
    )


def outline(given: Mapping[str, Any]) -> list[Point]:
    """The corners of the lasso of a form, else of its rectangle, in [0, 1]. Raises GencoreError for less than three."""
    text = str(given.get("lasso") or "").split()
    try:
        if text:
            points = [(float(x), float(y)) for x, y in (pair.split(",") for pair in text[:MAX_POINTS])]
        else:
            left, top, right, bottom = (float(given.get(e) or 0) / 100 for e in ("left", "top", "right", "bottom"))
            points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    except ValueError as error:
        raise GencoreError(f"The outline cannot be read ({error}); expected numbers.") from error
    if len(points) < 3 or not all(-1 <= value <= 2 for point in points for value in point):
        raise GencoreError("The outline has fewer than three corners, or lies outside the map: draw round some places.")
    return points


def within(places: Tensor, corners: list[Point]) -> Tensor:
    """Which of places (N, 2) in [0, 1] lie within a polygon, (N,) bool, to a pixel of the map."""
    from PIL import Image, ImageDraw

    mask = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(mask).polygon([(SIZE * x, SIZE * y) for x, y in corners], fill=1, outline=1)
    inside = torch.frombuffer(bytearray(mask.tobytes()), dtype=torch.uint8).view(SIZE, SIZE).bool()
    x, y = (places * SIZE).long().clamp(0, SIZE - 1).unbind(1)
    return inside[y, x]


def _rows(before: bytes, names: list[str]) -> dict[str, dict[str, Any]]:
    """Of a list of labels. Raises GencoreError for one of other data."""
    from gencore.data.label_lists import read_label_list

    if not before:
        return {}
    with tempfile.TemporaryDirectory(prefix="gencore-explore-") as folder:
        file = Path(folder) / "labels.csv"
        file.write_bytes(before)
        return read_label_list(file, names)


def _whole(given: Mapping[str, Any], name: str) -> int:
    try:
        return int(given.get(name) or 0)
    except ValueError:
        raise GencoreError(f"{name} is {given.get(name)!r}; expected a whole number.") from None
