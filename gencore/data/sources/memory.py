"""A source held in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from gencore.conditions import Condition
from gencore.data.images import from_uint8
from gencore.data.source import Batch, check_indices


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InMemory:
    """A source held in memory. `x`: (N, *shape), float32, or uint8 images, which become [-1, 1] when fetched.

    `label`: (N,) int64 in [0, num_classes), or None for both; `class_names`: one name a class, or none.
    `further`: more tensors of N rows by key, handed on by `fetch`, images as uint8 like x; what they are says
    `conditions`, None for the labels alone.
    """

    x: Tensor
    label: Tensor | None = None
    num_classes: int | None = None
    name: str = "arrays"
    class_names: tuple[str, ...] = ()
    further: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    conditions: tuple[Condition, ...] | None = None

    def __post_init__(self) -> None:
        assert self.x.dtype in (torch.float32, torch.uint8)
        assert (self.label is None) == (self.num_classes is None)
        assert self.label is None or (self.label.dtype == torch.int64 and self.label.shape == (len(self.x),))
        assert all(len(rows) == len(self.x) for rows in self.further.values())
        assert not self.class_names or len(self.class_names) == self.num_classes

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    def __len__(self) -> int:
        return len(self.x)

    def fetch(self, indices: Tensor) -> Batch:
        check_indices(indices, len(self))
        batch = {key: _as_float(rows[indices]) for key, rows in {"x": self.x, **self.further}.items()}
        batch["index"] = indices
        if self.label is not None:
            batch["label"] = self.label[indices]
        return batch


def _as_float(x: Tensor) -> Tensor:
    return from_uint8(x) if x.dtype == torch.uint8 else x
