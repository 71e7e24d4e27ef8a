"""Parts of a data set for judges of a trained model: what they learn from, what they are tested on, what examples are
called.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencore.conditions import ClassLabel, Tokens
from gencore.config import check
from gencore.data.by_attribute import by_attribute
from gencore.data.by_class import labels_of
from gencore.data.fingerprints import digest
from gencore.data.names import plain_names
from gencore.data.opening import open_source
from gencore.data.options import Split
from gencore.data.source import Source, class_names_of, conditions_of
from gencore.data.sources.folder import ImageFolder
from gencore.data.streams import Use, permutation
from gencore.data.views import View, subset
from gencore.errors import GencoreError

HELD_OUT = 0.2


def train_and_test(
    spec: str,
    *,
    image_size: int | None = None,
    channels: int | None = None,
    test: str | None = None,
    attribute: str | None = None,
    seed: int = 0,
) -> tuple[Source, Source]:
    """What to fit a judge on, and what to try it on: two parts without a common example.

    They are the data's own parts; data without parts (a folder, an array file) are divided by `held_out`. `test`: the
    word for other data to try it on, whose classes must be the same. `attribute`: its values are the classes (see
    by_attribute); of a folder, a column of its metadata. Raises as open_source and by_attribute do.
    """

    def opened(word: str, split: Split) -> Source:
        column = None if word in plain_names() else attribute
        source = open_source(word, image_size=image_size, channels=channels, split=split, condition=column)
        if attribute is None or _told_by(source, column):
            return source
        sentences = column is not None and any(isinstance(kind, Tokens) for kind in conditions_of(source))
        return by_attribute(source, Tokens.key if sentences else attribute)

    first, second = opened(spec, "train"), opened(test or spec, "test")
    if class_names_of(first) != class_names_of(second) or first.num_classes != second.num_classes:
        raise GencoreError(
            f"{first.name} and {second.name} have other classes: {_classes(first)} and {_classes(second)}."
        )
    if digest(first) == digest(second):
        return held_out(first, seed=seed)
    return first, second


def _told_by(source: Source, column: str | None) -> bool:
    """Whether the column that the source was opened with gave it its classes, as one of the Hub's may."""
    kinds = conditions_of(source)
    return (
        column is not None and len(kinds) == 1 and isinstance(kinds[0], ClassLabel) and not getattr(source, "keys", ())
    )


def held_out(source: Source, *, share: float = HELD_OUT, seed: int = 0) -> tuple[Source, Source]:
    """The source without a share of its examples, and that share, drawn from `seed`: as much of every class.

    Shares of a class are rounded up, and one example of it stays at least. Raises GencoreError for a class
    of one example.
    """
    check(0 < share < 1, "share", share, "a share in (0, 1)")
    label = torch.zeros(len(source), dtype=torch.int64) if source.num_classes is None else labels_of(source)
    chosen = torch.zeros(len(source), dtype=torch.bool)
    drawn = permutation(len(source), seed, 0, Use.SPLIT)
    for kind in label.unique().tolist():
        rows = drawn[label[drawn] == kind]
        if len(rows) < 2:
            raise GencoreError(f"{source.name} has one example of class {kind}; expected two or more, to hold one out.")
        chosen[rows[: min(math.ceil(share * len(rows)), len(rows) - 1)]] = True
    return subset(source, (~chosen).nonzero()[:, 0]), subset(source, chosen.nonzero()[:, 0])


def at_most(source: Source, count: int | None, *, seed: int = 0) -> Source:
    """`count` examples drawn from `seed`, in the source's order; all of them for None or where there are fewer."""
    if count is None or count >= len(source):
        return source
    check(count >= 1, "count", count, "at least 1")
    return subset(source, permutation(len(source), seed, 0)[:count].sort().values)


def example_names(source: Source, index: Tensor) -> list[str]:
    """What the examples at `index` of a batch, (N,) int64, are called: a file's name as seen from its folder with
    slashes between, else the number.
    """
    while isinstance(source, View):
        source = source.source
    if isinstance(source, ImageFolder):
        return [source.paths[i].relative_to(source.root).as_posix() for i in index.tolist()]
    return [str(i) for i in index.tolist()]


def _classes(source: Source) -> str:
    return ", ".join(class_names_of(source)) or str(source.num_classes)
