"""A data set of the Hugging Face Hub with an image column, by the `datasets` library (pip install "gencore[hf]")."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from einops import rearrange
from PIL import Image as PILImage
from torch import Tensor

from gencore.conditions import ClassLabel, Condition, Image
from gencore.data.decode import Decoding, pixels_of
from gencore.data.flatten import is_grey
from gencore.data.images import from_uint8
from gencore.data.opening_rules import refuse, shorten
from gencore.data.options import OpenOptions
from gencore.data.ranges import check_peak
from gencore.data.regular import open_regular
from gencore.data.source import Batch, check_batch, check_indices, check_labels
from gencore.data.sources.listing import shown
from gencore.data.sources.metadata import condition_from
from gencore.errors import GencoreError, PluginError, suggest

NUM_PROBED = 32
_SPEC = re.compile(r"//datasets/([^/@]+/[^/@]+)(?:@([^@]+))?")


def open_hub(argument: str, options: OpenOptions) -> HubDataset:
    """hf://datasets/ORG/NAME[@REVISION]: nothing of the repository is run, only its data are read.

    Raises PluginError without the `datasets` library; GencoreError where the data set cannot be had, and as
    `from_table` does.
    """
    _check_spec(argument)
    refuse(options, f"hf:{argument}", "skip_corrupt")
    return from_table(load_table(argument, options.split), options, f"hf:{argument} ({options.split})")


def _check_spec(argument: str) -> re.Match[str]:
    if not (match := _SPEC.fullmatch(argument)):
        raise GencoreError(
            f"{shorten('hf:' + argument)} is no Hub data set; expected hf://datasets/ORG/NAME[@REVISION]."
        )
    return match


def load_table(argument: str, split: str) -> Any:
    """The datasets.Dataset of //datasets/ORG/NAME[@REVISION]. Raises as open_hub."""
    match = _check_spec(argument)
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise PluginError(
            f'hf:{argument} needs the datasets library, which is not installed: pip install "gencore[hf]".'
        ) from error
    try:
        return datasets.load_dataset(match[1], revision=match[2], split=split)
    except Exception as error:  # the library raises many kinds, of its own and of those below it
        raise GencoreError(f"the Hub data set {match[1]!r} cannot be had: {type(error).__name__}: {error}") from error


def read_texts(argument: str) -> list[str]:
    """The rows of the train part of //datasets/ORG/NAME[@REVISION]: its column "text", or its only one of texts. Raises
    as open_hub, and where it is unclear which column that is."""
    table = load_table(argument, "train")
    columns = [
        name for name, kind in table.features.items() if getattr(kind, "dtype", "") in ("string", "large_string")
    ]
    chosen = ["text"] if "text" in columns else columns
    if len(chosen) != 1:
        raise GencoreError(
            f"hf:{argument} has the columns of texts {shown(columns) or 'none'}, of {shown(table.features)}; expected "
            "one, or one that is called text."
        )
    return [row for row in table[chosen[0]] if row is not None]


class HubDataset:
    """What open_hub returns: the column `image` of a table, and its labels, input or metadata."""

    read_ahead: ClassVar[bool] = True

    def __init__(
        self, table: Any, image: str, how: Mapping[str, Decoding], further: Mapping[str, Tensor], name: str
    ) -> None:
        self.table, self.image, self.how, self.further, self.name = table, image, how, further, name
        self.conditions: tuple[Condition, ...] = ()
        self.class_names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        how = self.how[self.image]
        return (how.channels, how.size, how.size)

    @property
    def num_classes(self) -> int | None:
        return len(self.class_names) or None

    def __len__(self) -> int:
        return len(self.table)

    def fetch(self, indices: Tensor) -> Batch:
        check_indices(indices, len(self))
        rows = [self.table[i] for i in indices.tolist()]
        batch = {"index": indices, **{key: value[indices] for key, value in self.further.items()}}
        for column, how in self.how.items():
            pixels = np.stack(
                [self._pixels(row, column, how, i) for row, i in zip(rows, indices.tolist(), strict=True)]
            )
            key = "x" if column == self.image else "x_input"
            batch[key] = from_uint8(rearrange(torch.from_numpy(pixels), "n h w c -> n c h w").contiguous())
        return batch

    def _pixels(self, row: Mapping[str, Any], column: str, how: Decoding, index: int) -> np.ndarray:
        name = f"{self.name}, example {index}"
        try:
            return pixels_of(_opened(row[column]), how, name)
        except GencoreError:
            raise
        except Exception as error:  # Pillow's decoders raise whatever the broken bytes led them to
            raise GencoreError(f"{name}: {column!r} cannot be read as an image: {error}.") from error


def _opened(cell: Mapping[str, Any] | None) -> PILImage.Image:
    """The image in a cell that was not decoded: its bytes, or a file that the library has fetched."""
    if cell is None or (cell["bytes"] is None and cell["path"] is None):
        raise ValueError("there is none")
    content = cell["bytes"]
    if content is None:
        with open_regular(cell["path"]) as file:
            content = file.read()
    return PILImage.open(io.BytesIO(content))


def from_table(table: Any, options: OpenOptions, name: str) -> HubDataset:
    """A source from a datasets.Dataset with one image column, or two of which `condition` names the input.

    Labels are the ClassLabel column, "label" where there are several; `condition` may name another one, or a column of
    text or numbers (gencore.data.sources.metadata). Raises GencoreError: no image column, or unclear which; pictures
    of different sizes without image_size; no such column.
    """
    kinds = {column: type(feature).__name__ for column, feature in table.features.items()}
    wanted = options.column
    if not len(table):
        raise GencoreError(f"{name} is empty.")
    if wanted is not None and wanted not in kinds and "," not in wanted:
        raise GencoreError(f"{name} has no column {wanted!r}.{suggest(wanted, kinds)}")
    pictures = [column for column, kind in kinds.items() if kind == "Image"]
    for column in pictures:  # the library would decode to 8 bits, and forget the file's depth and colour key
        table = table.cast_column(column, type(table.features[column])(decode=False))
    targets = [column for column in pictures if column != wanted]
    if len(targets) != 1:
        raise GencoreError(
            f"{name} has the image columns {shown(pictures) or 'none'}, of {shown(kinds)}; expected one, or two of "
            "which condition (--condition) names the input."
        )
    columns = [targets[0], *([wanted] if wanted in pictures else [])]
    how = {column: _decoding(table, column, options, name) for column in columns}
    further: dict[str, Tensor] = {}
    conditions: list[Condition] = []
    if wanted in pictures:
        given = how[str(wanted)]
        conditions.append(Image(shape=(given.channels, given.size, given.size)))
    elif wanted is not None and kinds.get(wanted) != "ClassLabel":
        rows = {str(i): row for i, row in enumerate(table.remove_columns(pictures).to_list())}
        told = condition_from(rows, list(rows), wanted, name)
        if told.places:
            raise GencoreError(f"{name}: boxes and key points are read of folders alone; expected text or numbers.")
        conditions.extend(told.conditions)
        further = dict(told.tensors)
    label = _label_column(kinds, options, name)
    names: tuple[str, ...] = ()
    if label is not None:
        names = tuple(table.features[label].names)
        further["label"] = torch.tensor(table[label][:] if hasattr(table[label], "__getitem__") else list(table[label]))
        check_labels(further["label"], len(names), name)
        conditions.append(ClassLabel(count=len(names), names=names))
    source = HubDataset(table, targets[0], how, further, name)
    source.conditions, source.class_names = tuple(conditions), names
    probe = source.fetch(_probe(table))
    check_batch(probe, source)
    if options.data_range is None:
        check_peak(round((float(probe["x"].max()) + 1) * 127.5), 255, f"the images of {name}")
    return source


def _probe(table: Any) -> Tensor:
    return torch.linspace(0, len(table) - 1, min(NUM_PROBED, len(table))).long()


def _decoding(table: Any, column: str, options: OpenOptions, name: str) -> Decoding:
    found = []
    for index in _probe(table).tolist():
        try:
            found.append(_opened(table[index][column]))
        except (ValueError, OSError) as error:
            raise GencoreError(f"{name}, example {index}: {column!r} cannot be read as an image: {error}.") from error
    sizes = sorted({picture.size for picture in found})
    if options.image_size is None and (len(sizes) != 1 or sizes[0][0] != sizes[0][1]):
        listed = ", ".join(f"{width} x {height}" for width, height in sizes[:3])
        raise GencoreError(
            f"the images of {name} are not squares of one size ({listed}). Say which size they shall have: "
            "image_size=32 (--image-size 32)."
        )
    grey = all(is_grey(picture) for picture in found)
    return Decoding(options.channels or (1 if grey else 3), options.image_size or sizes[0][0], options.data_range)


def _label_column(kinds: Mapping[str, str], options: OpenOptions, name: str) -> str | None:
    labels = [column for column, kind in kinds.items() if kind == "ClassLabel"]
    if not options.labels or not labels:
        return None
    if options.column in labels:
        return options.column
    if len(labels) == 1:
        return labels[0]
    if "label" in labels:
        return "label"
    raise GencoreError(
        f"{name} has several columns of classes: {shown(labels)}. Name one: condition=... (--condition), or none."
    )
