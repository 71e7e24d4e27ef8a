"""n-gram models, to judge others by (Witten & Bell 1991, "The zero-frequency problem", method C).

    p(w | h) = (c(h w) + d(h) p(w | h')) / (c(h) + d(h))
with c the counts, d(h) how many different tokens followed h, h' the history without its first token, p = 1 / K under
the empty one. A mark of its own stands before the first token of an example; nothing before that is counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from gencore.errors import GencoreError

History = tuple[int, ...]
START = -1


class NGram:
    """Counts of `order` tokens in a row, and all shorter ones, of tokens (N, T)."""

    def __init__(self, tokens: Tensor, order: int, size: int) -> None:
        if order < 1:
            raise GencoreError(f"order is {order}; expected at least 1.")
        self.order, self.size = order, size
        self.after: defaultdict[History, Counter[int]] = defaultdict(Counter)
        for row in tokens.tolist():
            for place, token in enumerate(row):
                for history in self._histories(row[:place]):
                    self.after[history][token] += 1
        self.totals = {history: counts.total() for history, counts in self.after.items()}

    def probability(self, token: int, before: Sequence[int]) -> float:
        """p(token | the last order - 1 of `before`, which is all that its example has before it)."""
        p = 1 / self.size
        for history in self._histories(before):
            if counts := self.after.get(history):
                p = (counts[token] + len(counts) * p) / (self.totals[history] + len(counts))
        return p

    def nats(self, tokens: Tensor) -> Tensor:
        """tokens (N, T) -> -log p of each given those before it in its row, (N, T) float64."""
        rows = tokens.tolist()
        return -torch.tensor(
            [[self.probability(row[t], row[:t]) for t in range(len(row))] for row in rows], dtype=torch.float64
        ).log()

    def _histories(self, before: Sequence[int]) -> list[History]:
        """What a token may be predicted from, the empty history first."""
        marked = (START, *before)
        marked = marked[max(0, len(marked) - self.order + 1) :]
        return [marked[len(marked) - n :] for n in range(len(marked) + 1)]
