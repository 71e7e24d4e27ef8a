"""What a data set is here: a `Source`, fetched in whole batches, and the keys of a batch.

key      shape, dtype             meaning
x        (N, *shape) float32      the examples; images are NCHW in [-1, 1]
label    (N,) int64               classes 0 ... num_classes - 1; only where num_classes is not None
index    (N,) int64               the position of each example in the source that holds it

Views (gencore.data.views) of two sources add the second one's keys with a suffix, such as x_b or x_unlabelled.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from gencore.data.streams import permutation
from gencore.errors import GencoreError, NonFiniteError

Batch = dict[str, Tensor]

RANGE_TOLERANCE = 1e-3


@runtime_checkable
class Source(Protocol):
    """A data set of known length. `fetch` is a function of its indices alone (a torch Dataset may break this).

    Two optional members: `read_ahead = True` says that fetching is slow and may be done by several threads at once;
    `order(seed, epoch)`, (L,) or (L, 2) int64, replaces the permutation in which an epoch visits the examples.
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InMemory:
    """A source held in memory. `x`: (N, *shape), float32, or uint8 images, which become [-1, 1] when fetched."""

    x: Tensor
    label: Tensor | None = None
    num_classes: int | None = None
    name: str = "arrays"

    def __post_init__(self) -> None:
        assert self.x.dtype in (torch.float32, torch.uint8)
        assert (self.label is None) == (self.num_classes is None)
        assert self.label is None or (self.label.dtype == torch.int64 and self.label.shape == (len(self.x),))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    def __len__(self) -> int:
        return len(self.x)

    def fetch(self, indices: Tensor) -> Batch:
        from gencore.data.images import from_uint8

        check_indices(indices, len(self))
        x = self.x[indices]
        batch = {"x": from_uint8(x) if x.dtype == torch.uint8 else x, "index": indices}
        if self.label is not None:
            batch["label"] = self.label[indices]
        return batch


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


def check_batch(batch: Batch, shape: tuple[int, ...]) -> None:
    """Raise unless `batch` has x of (N, *shape) float32, finite floats throughout, and images in [-1, 1].

    Raises NonFiniteError (key, number of bad values, first example) or GencoreError.
    """
    x = batch.get("x")
    if x is None:
        raise GencoreError(f"the batch has no key 'x', only {sorted(batch)}; see gencore.data.source for the keys.")
    if x.dtype != torch.float32 or tuple(x.shape[1:]) != tuple(shape) or not len(x):
        raise GencoreError(
            f"the batch's x is {tuple(x.shape)} {x.dtype}; expected (N, {', '.join(map(str, shape))}) torch.float32."
        )
    for key, value in batch.items():
        if value.shape[:1] != x.shape[:1]:
            raise GencoreError(f"the batch's {key!r} is {tuple(value.shape)}; expected {len(x)} rows, as x has.")
        if not value.is_floating_point():
            continue
        bounds = finite_bounds(value, f"the batch's {key!r}", batch.get("index" + key.removeprefix("x")))
        if is_image_key(key, value):
            check_image_range(bounds, f"the batch's {key!r}")


def finite_bounds(x: Tensor, what: str, index: Tensor | None = None) -> tuple[float, float]:
    """The least and the greatest value of x, (N, ...) floating point.

    Raises NonFiniteError with the number of NaN or infinite values and the first such example (its row, or `index`
    there). One pass: torch.aminmax lets NaN through, and costs 0.17 ms for (128, 3, 64, 64), isfinite().all() 3 ms.
    """
    low, high = (bound.item() for bound in torch.aminmax(x))
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    bad = ~torch.isfinite(x.reshape(len(x), -1))
    row = int(bad.any(1).nonzero()[0])
    first = row if index is None else int(index[row])
    raise NonFiniteError(
        f"{what} has {int(bad.sum())} values that are NaN or infinite, in {int(bad.any(1).sum())} of {len(x)} "
        f"examples; the first is example {first}. Remove or repair these examples."
    )


def check_image_range(bounds: tuple[float, float], what: str) -> None:
    """Raise GencoreError unless the bounds lie in [-1, 1], but for 1e-3."""
    low, high = bounds
    if low < -1 - RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise GencoreError(
            f"{what} holds images with values from {low:.4g} to {high:.4g}; expected [-1, 1]. Scale them, x / 127.5 - "
            "1 from 0 ... 255 or x * 2 - 1 from [0, 1], or clip what is little beyond, x.clamp(-1, 1)."
        )


def is_image_key(key: str, value: Tensor) -> bool:
    """Whether a batch's entry holds images: x, or the x of another stream, with axes NCHW."""
    return (key == "x" or key.startswith("x_")) and value.ndim == 4
