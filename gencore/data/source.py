"""What a data set is here: a `Source`, fetched in whole batches, and the keys of a batch.

key          shape, dtype             meaning
x            (N, *shape) float32      the examples; images are NCHW in [-1, 1]
label        (N,) int64               classes 0 ... num_classes - 1; only where num_classes is not None
index        (N,) int64               the position of each example in the source that holds it
x_input      (N, C, H, W) float32     the picture that x is made from, in [-1, 1]: condition Image
tokens       (N, length) int64        the words that go with x: condition Tokens
attributes   (N, count) float32       the numbers by name that go with x: condition Attributes

A further stream has a suffix: x_b, label_b and index_b beside x, label and index (gencore.data.views_of_two). A source
says what its examples are conditioned on by `conditions`, and by `keys` what else a batch holds; nothing else may.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from gencore.conditions import ClassLabel, Condition
from gencore.data.ranges import check_image_range, finite_bounds, is_image_key
from gencore.data.streams import permutation
from gencore.errors import GencoreError, suggest

Batch = dict[str, Tensor]

KEYS = ("x", "label", "index")


@runtime_checkable
class Source(Protocol):
    """A data set of known length. `fetch` is a function of its indices alone (a torch Dataset may break this).

    Optional members:
      conditions           what the examples are conditioned on, a tuple of gencore.conditions (see conditions_of)
      keys                 the names of tensors of its own beside those above, a tuple
      class_names          the names of the classes, a tuple of num_classes strings, empty where they have none
      read_ahead = True    fetching is slow and may be done by several threads at once
      order(seed, epoch)   (L,) or (L, 2) int64, replaces the permutation in which an epoch visits the examples
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example's x: (C, H, W) for images, (D,) for vectors."""
        ...

    @property
    def num_classes(self) -> int | None:
        """The number of classes; None without labels."""
        ...

    @property
    def name(self) -> str:
        """A short description, for cards and messages."""
        ...

    def __len__(self) -> int: ...

    def fetch(self, indices: Tensor) -> Batch:
        """The examples at `indices`, (N,) int64 in [0, len)."""
        ...


@runtime_checkable
class Ordered(Protocol):
    """A source that decides in which order an epoch visits it."""

    def order(self, seed: int, epoch: int) -> Tensor:
        """The indices of one epoch, (L,) or (L, 2) int64: a function of (seed, epoch) alone."""
        ...


def epoch_order(source: Source, seed: int, epoch: int) -> Tensor:
    """The indices of one epoch: the source's own order where it has one, else a permutation of all examples."""
    if isinstance(source, Ordered):
        return source.order(seed, epoch)
    return permutation(len(source), seed, epoch)


def class_names_of(source: Source) -> tuple[str, ...]:
    """The names of the source's classes, in the order of their numbers; empty where they have none."""
    return tuple(getattr(source, "class_names", ()))


def conditions_of(source: Source) -> tuple[Condition, ...]:
    """What the source's examples are conditioned on: what it says, else its class labels, else nothing."""
    stated: tuple[Condition, ...] | None = getattr(source, "conditions", None)
    if stated is not None:
        return tuple(stated)
    if source.num_classes is None:
        return ()
    return (ClassLabel(count=source.num_classes, names=class_names_of(source)),)


def check_indices(indices: Tensor, length: int) -> None:
    """Raise GencoreError unless `indices` are (N,) int64, N >= 1, in [0, length)."""
    if indices.ndim != 1 or indices.dtype != torch.int64 or not len(indices):
        raise GencoreError(
            f"fetch got indices of shape {tuple(indices.shape)} and {indices.dtype}; expected (N,) int64 with N >= 1."
        )
    low, high = (int(bound) for bound in torch.aminmax(indices))
    if low < 0 or high >= length:
        raise GencoreError(
            f"fetch got indices from {low} to {high}; the source has {length} examples, 0 to {length - 1}."
        )


def check_labels(label: Tensor, num_classes: int, name: str) -> None:
    """Raise GencoreError unless all labels, (N,) int64, are in [0, num_classes)."""
    bad = (label < 0) | (label >= num_classes)
    if bad.any():
        where = int(bad.nonzero()[0])
        raise GencoreError(
            f"{name} has {int(bad.sum())} labels outside 0 ... {num_classes - 1}, the first ({int(label[where])}) at "
            f"position {where}. Number the classes from 0, and give num_classes its true value."
        )


def check_batch(batch: Batch, expected: Source | tuple[int, ...]) -> None:
    """Raise unless `batch` has x of (N, *shape) float32, finite floats throughout, and images in [-1, 1].

    expected: the source that the batch is from, or the shape of one example. A source's batch holds x, label, index,
    and the keys of its `conditions` and `keys`, each also with a further stream's suffix, such as x_b, and nothing
    else; what its conditions declare must be there, and fit.
    Raises NonFiniteError (key, number of bad values, first example) or GencoreError, which names the key.
    """
    shape = expected if isinstance(expected, tuple) else expected.shape
    x = batch.get("x")
    if x is None:
        raise GencoreError(f"the batch has no key 'x', only {sorted(batch)}; see gencore.data.source for the keys.")
    if x.dtype != torch.float32 or tuple(x.shape[1:]) != tuple(shape) or not len(x):
        raise GencoreError(
            f"the batch's x is {tuple(x.shape)} {x.dtype}; expected (N, {', '.join(map(str, shape))}) torch.float32."
        )
    for key, value in batch.items():
        _check_values(key, value, batch)
    if not isinstance(expected, tuple):
        _check_keys(batch, expected)


def _check_keys(batch: Batch, source: Source) -> None:
    conditions = conditions_of(source)
    declared = {*KEYS, *(condition.key for condition in conditions), *getattr(source, "keys", ())}
    for key in batch:
        if not any(key == known or key.startswith(f"{known}_") for known in declared):
            raise GencoreError(
                f"the batch of {source.name} has the key {key!r}, which nobody declared.{suggest(key, declared)} Name "
                "it in the source's `conditions` or `keys`, or call a further stream of arrays x_..., such as x_b."
            )
    for condition in conditions:
        if condition.key not in batch:
            raise GencoreError(
                f"the batch of {source.name} has no {condition.key!r}, only {sorted(batch)}; its conditions declare it."
            )
        try:
            condition.check(batch[condition.key], len(batch["x"]))
        except GencoreError as error:
            raise GencoreError(f"the batch of {source.name}: its {condition.key!r} does not fit: {error}") from error


def _check_values(key: str, value: Tensor, batch: Batch) -> None:
    if value.shape[:1] != batch["x"].shape[:1]:
        raise GencoreError(f"the batch's {key!r} is {tuple(value.shape)}; expected {len(batch['x'])} rows, as x has.")
    if not value.is_floating_point():
        return
    bounds = finite_bounds(value, f"the batch's {key!r}", batch.get("index" + key.removeprefix("x")))
    if is_image_key(key, value):
        check_image_range(bounds, f"the batch's {key!r}")
