"""Views of two sources: side by side in orders of their own (unpaired), or row by row (paired)."""

from __future__ import annotations

import torch
from torch import Tensor

from gencore.conditions import Condition, Image
from gencore.data.source import KEYS, Batch, Source, check_indices, conditions_of, epoch_order
from gencore.data.streams import derived_seed
from gencore.data.views import View, order_width, refuse_own_order, subset, unlabelled
from gencore.errors import GencoreError


def unpaired(first: Source, second: Source, suffix: str = "_b") -> Source:
    """Two sources side by side, each in its own random order: x, label, index, and x_b, label_b, index_b.

    An epoch visits the longer one once; the shorter one goes from one of its epochs to the next meanwhile. Shape,
    classes, conditions and length are those of the first (length: of the longer). `fetch` takes rows of the order, or
    positions (N,): the i-th of both, from the start again where one ends.
    Raises GencoreError where the second's keys with their suffix would hide some of the first's.
    """
    if not suffix:
        raise GencoreError("suffix is empty; the second source's keys need one, such as '_b'.")
    for source in (first, second):
        if suffix in getattr(source, "suffixes", ()):
            raise GencoreError(
                f"{source.name} has two streams already, the second with {suffix!r}; take another suffix."
            )
    return _Unpaired(first, second, suffix)


def labelled_and_unlabelled(source: Source, labelled_indices: Tensor) -> Source:
    """For semi-supervision: x, label, index from the examples at `labelled_indices`; x_unlabelled, index_unlabelled
    from all of `source` (the labelled ones too), without labels. Orders and lengths as in `unpaired`.
    """
    if source.num_classes is None:
        raise GencoreError(f"{source.name} has no labels; expected a labelled source.")
    return unpaired(subset(source, labelled_indices), unlabelled(source), suffix="_unlabelled")


def paired(target: Source, given: Source) -> Source:
    """Row i of both: x, label and index of `target`, and x_input, the picture of `given` that x is made from.

    Raises GencoreError for sources of different length, without images, or with an order of their own.
    """
    for source in (target, given):
        refuse_own_order(source, "paired")
        if len(source.shape) != 3:
            raise GencoreError(f"{source.name} has shape {source.shape}; to pair pictures, expected images.")
    if len(target) != len(given):
        raise GencoreError(
            f"{target.name} has {len(target)} examples and {given.name} {len(given)}; expected as many: example i of "
            "one belongs to example i of the other."
        )
    return _Paired(target, given)


class _Unpaired(View):
    def __init__(self, first: Source, second: Source, suffix: str) -> None:
        super().__init__(first)
        self.second, self.suffix = second, suffix
        self.widths = (order_width(first), order_width(second))
        self.order = self._rows

    @property
    def name(self) -> str:
        return f"{self.source.name} and {self.second.name}"

    @property
    def keys(self) -> tuple[str, ...]:
        """The first's, and what the second holds beyond the keys that every stream may have."""
        further = (*(kind.key for kind in conditions_of(self.second)), *getattr(self.second, "keys", ()))
        return (*super().keys, *(key + self.suffix for key in further if key not in KEYS))

    @property
    def suffixes(self) -> tuple[str, ...]:
        return (
            *super().suffixes,
            self.suffix,
            *(inner + self.suffix for inner in getattr(self.second, "suffixes", ())),
        )

    @property
    def read_ahead(self) -> bool:
        """Only if both may be read by threads."""
        return all(getattr(source, "read_ahead", False) for source in (self.source, self.second))

    def __len__(self) -> int:
        return max(len(self.source), len(self.second))

    def _rows(self, seed: int, epoch: int) -> Tensor:
        start = epoch * len(self)
        # with one seed for both, sources of equal length would be paired for good
        sides = [
            _stretch(source, derived_seed(seed, number), start, len(self)).view(len(self), -1)
            for number, source in enumerate((self.source, self.second))
        ]
        return torch.cat(sides, dim=1)

    def fetch(self, indices: Tensor) -> Batch:
        if indices.ndim == 1:
            check_indices(indices, len(self))
            sides = [indices % len(self.source), indices % len(self.second)]
        elif indices.ndim == 2 and indices.shape[1] == sum(self.widths):
            parts = zip(indices.split(self.widths, dim=1), self.widths, strict=True)
            sides = [part[:, 0] if width == 1 else part for part, width in parts]
        else:
            raise GencoreError(
                f"fetch got indices of shape {tuple(indices.shape)}; expected (N,) or (N, {sum(self.widths)})."
            )
        first, second = self.source.fetch(sides[0]), self.second.fetch(sides[1])
        return first | {key + self.suffix: value for key, value in second.items()}


class _Paired(View):
    def __init__(self, target: Source, given: Source) -> None:
        super().__init__(target)
        self.second = given

    @property
    def name(self) -> str:
        return f"{self.source.name} from {self.second.name}"

    @property
    def conditions(self) -> tuple[Condition, ...]:
        channels, height, width = self.second.shape
        return (Image(shape=(channels, height, width)), *super().conditions)

    @property
    def read_ahead(self) -> bool:
        return all(getattr(source, "read_ahead", False) for source in (self.source, self.second))

    def fetch(self, indices: Tensor) -> Batch:
        return self.source.fetch(indices) | {"x_input": self.second.fetch(indices)["x"]}


def _stretch(source: Source, seed: int, start: int, count: int) -> Tensor:
    """`count` rows from position `start` of the source's epochs, one after the other."""
    length = len(source)
    epochs = range(start // length, (start + count - 1) // length + 1)
    skipped = start - epochs[0] * length
    return torch.cat([epoch_order(source, seed, epoch) for epoch in epochs])[skipped : skipped + count]
