"""The source that texts and grammars are: sequences of tokens, one-hot."""

from __future__ import annotations

import dataclasses

from torch import Tensor
from torch.nn import functional as F

from gencore.data.source import Batch, check_indices


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sequences:
    """A source of sequences of one length: `tokens`, (N, length) int64, numbers in `vocabulary`."""

    tokens: Tensor
    vocabulary: tuple[str, ...]
    name: str

    @property
    def shape(self) -> tuple[int, int]:
        return self.tokens.shape[1], len(self.vocabulary)

    @property
    def num_classes(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self.tokens)

    def fetch(self, indices: Tensor) -> Batch:
        check_indices(indices, len(self))
        return {"x": F.one_hot(self.tokens[indices], len(self.vocabulary)).float(), "index": indices}
