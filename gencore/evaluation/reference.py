"""The real examples that a model is measured against: a whole split or a seeded draw of it, never its first rows."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from gencore.data.fingerprints import digest
from gencore.data.source import Batch, Source
from gencore.data.streams import permutation
from gencore.errors import GencoreError

PART = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """The examples of `source` at `rows`, (n,) int64, in an order drawn by `seed`. `split` is as the user named it."""

    source: Source
    rows: Tensor
    split: str
    seed: int

    @classmethod
    def draw(cls, source: Source, *, split: str, n: int | None = None, seed: int = 0) -> Reference:
        """`n` examples at random; all where n is None or more than there are. Raises GencoreError for n < 1."""
        if n is not None and n < 1:
            raise GencoreError(f"the number of real examples is {n}; expected at least 1.")
        return cls(source, permutation(len(source), seed, 0)[:n], split, seed)

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self) -> Iterator[Batch]:
        """All examples, in parts."""
        for rows in self.rows.split(PART):
            yield self.source.fetch(rows)

    def map(self, function: Callable[[Batch], Tensor]) -> Tensor:
        """`function` of each part, one after another in one tensor."""
        return torch.cat([function(batch) for batch in self.batches()])

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """What a figure's provenance says of it. The digest is of the content, shape and choice of rows."""
        hashed = hashlib.sha256(f"{digest(self.source)} {tuple(self.source.shape)}\n".encode())
        hashed.update(self.rows.sort().values.numpy().tobytes())
        whole = len(self) == len(self.source)
        return {
            "real_split": self.split,
            "real_rows": "all" if whole else f"drawn by seed {self.seed}",
            "real_digest": hashed.hexdigest(),
            "n_real": len(self),
        }
