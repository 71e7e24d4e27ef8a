"""A view that lets examples of one class come together: pairs and triplets need several of a class in a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from gencore.config import check
from gencore.data.by_class import labels_of
from gencore.data.source import Source
from gencore.data.streams import derived_seed, permutation
from gencore.data.views import View, refuse_own_order
from gencore.errors import GencoreError


def grouped(source: Source, per_class: int) -> Source:
    """An epoch visits groups of `per_class` examples of one class, one after the other, in random order.

    What is left over of a class waits for another epoch; the first groups come twice in its place.
    Raises GencoreError for a source without labels, with an order of its own, or with fewer than two classes of
    `per_class` examples.
    """
    check(per_class >= 2, "per_class", per_class, "at least 2")
    refuse_own_order(source, "grouped")
    label = labels_of(source)
    rows = [found for kind in label.unique() if len(found := (label == kind).nonzero()[:, 0]) >= per_class]
    if len(rows) < 2:
        raise GencoreError(
            f"{source.name} has {len(rows)} classes of at least {per_class} examples; expected two or more."
        )
    return _Grouped(source, rows, per_class)


class _Grouped(View):
    def __init__(self, source: Source, rows: list[Tensor], per_class: int) -> None:
        super().__init__(source)
        self.rows, self.per_class = rows, per_class
        self.order = self._groups

    def _groups(self, seed: int, epoch: int) -> Tensor:
        epoch_seed, groups = derived_seed(seed, epoch), []
        for number, rows in enumerate(self.rows):
            shuffled = rows[permutation(len(rows), epoch_seed, number)]
            groups.append(shuffled[: len(rows) // self.per_class * self.per_class].view(-1, self.per_class))
        together = torch.cat(groups)
        rows = together[permutation(len(together), epoch_seed, len(self.rows))].flatten()
        return rows.repeat(-(-len(self) // len(rows)))[: len(self)]
