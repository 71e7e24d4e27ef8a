"""The source that every toy returns: x, further tensors by key, and the kinds of condition that its batches carry."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from gencore.conditions import Condition, Image
from gencore.data.source import Batch, check_indices
from gencore.errors import GencoreError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """A source held in memory: `x` (N, *shape) float32, and `further` tensors of N rows, handed on by `fetch`."""

    x: Tensor
    further: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    num_classes: int | None = None
    conditions: tuple[Condition, ...] = ()
    name: str

    def __post_init__(self) -> None:
        assert self.x.dtype == torch.float32
        assert all(len(rows) == len(self.x) for rows in self.further.values())
        assert not {"x", "index"} & set(self.further)
        assert (self.num_classes is not None) == ("label" in self.further)
        assert all(condition.key in self.further for condition in self.conditions)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.further)

    def __len__(self) -> int:
        return len(self.x)

    def fetch(self, indices: Tensor) -> Batch:
        check_indices(indices, len(self))
        further = {key: rows[indices] for key, rows in self.further.items()}
        return {"x": self.x[indices], "index": indices, **further}


def with_input(source: Rendered, x_input: Tensor) -> Rendered:
    """The source with further pictures as what it is conditioned on first: `x_input`, (N, C, H, W) in [-1, 1]."""
    channels, height, width = x_input.shape[1:]
    return dataclasses.replace(
        source,
        further={**source.further, "x_input": x_input},
        conditions=(Image(shape=(channels, height, width)), *source.conditions),
    )


def first_indices(num_examples: int) -> Tensor:
    """0 ... num_examples - 1, (num_examples,) int64. Raises GencoreError for fewer than 1 or 2**32 and more."""
    if not 1 <= num_examples < 2**32:
        raise GencoreError(f"num_examples is {num_examples}; expected at least 1, and less than 2**32.")
    return torch.arange(num_examples)


def check_size(size: int, least: int, what: str = "size") -> None:
    """Raise GencoreError unless a toy can be drawn with `size` pixels, voxels, steps or panels."""
    if size < least:
        raise GencoreError(f"{what} is {size}; expected at least {least}.")
