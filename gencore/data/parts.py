"""Parts of a data set for judges of a trained model: what they learn from, what they are tested on, what examples are
called.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencore.config import check
from gencore.data.by_class import labels_of
from gencore.data.fingerprints import digest
from gencore.data.opening import open_source
from gencore.data.source import Source, class_names_of
from gencore.data.sources.folder import ImageFolder
from gencore.data.streams import Use, permutation
from gencore.data.views import View, subset
from gencore.errors import GencoreError

HELD_OUT = 0.2


def train_and_test(
    spec: str, *, image_size: int | None = None, channels: int | None = None, test: str | None = None, seed: int = 0
) -> tuple[Source, Source]:
    """What to fit a judge on, and what to try it on: two parts without a common example.

    They are the data's own parts; data without parts (a folder, an array file) are divided by `held_out`. `test`: the
    word for other data to try it on, whose classes must be the same. Raises as open_source does.
    """
    first = open_source(spec, image_size=image_size, channels=channels, split="train")
    second = open_source(test or spec, image_size=image_size, channels=channels, split="test")
    if class_names_of(first) != class_names_of(second) or first.num_classes != second.num_classes:
        raise GencoreError(
            f"{first.name} and {second.name} have other classes: {_classes(first)} and {_classes(second)}."
        )
    if digest(first) == digest(second):
        return held_out(first, seed=seed)
    return first, second


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
