"""Batches by number: batch k is a function of (source, seed, k), so the position in the data is one integer."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from gencore.data.source import Batch, Source, epoch_order
from gencore.errors import GencoreError

WORKERS = 4
AHEAD = 8


class Batches:
    """`batches[k]`: this rank's rows of global batch k, of batch_size * world_size examples.

    Epoch e = k // batches_per_epoch visits the source in an order drawn from (seed, e) alone, without touching the
    global random state. The ranks' rows, one after the other, are the rows of the same batch on one process with
    batch_size * world_size. drop_last: leave out an epoch's incomplete last batch, instead of sharing it out as evenly
    as can be. There is no last number; check batches with gencore.data.check_batch.

    Raises GencoreError for a source smaller than one global batch (with drop_last; else, where some rank would get
    nothing), and for settings out of range.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = True,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size:
            raise GencoreError(
                f"batch_size is {batch_size}, rank {rank} and world_size {world_size}; expected batch_size >= 1 and "
                "0 <= rank < world_size."
            )
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.global_size = batch_size * world_size
        whole, rest = divmod(len(source), self.global_size)
        self.batches_per_epoch = whole if drop_last else whole + (rest > 0)
        if self.batches_per_epoch == 0:
            raise GencoreError(
                f"{source.name} has {len(source)} examples, fewer than one batch of {batch_size} on each of "
                f"{world_size} processes. Take a batch size up to {max(1, len(source) // world_size)}, or more data."
            )
        if not drop_last and 0 < rest < world_size:
            raise GencoreError(
                f"{source.name} has {len(source)} examples; the last batch of an epoch has {rest}, too few for each of "
                f"{world_size} processes. Take another batch size, or drop_last=True."
            )
        self._epoch: tuple[int, Tensor] = (0, epoch_order(source, seed, 0))

    def __getitem__(self, number: int) -> Batch:
        return self.source.fetch(self.indices(number))

    def indices(self, number: int) -> Tensor:
        """What this rank fetches for global batch `number`: rows of the epoch's order, (N,) or (N, 2) int64."""
        if number < 0:
            raise GencoreError(f"the batch number is {number}; expected 0 or more.")
        epoch, within = divmod(number, self.batches_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, epoch_order(self.source, self.seed, epoch))
        start = within * self.global_size
        rows = self._epoch[1][start : start + self.global_size]
        return rows.tensor_split(self.world_size)[self.rank]

    def prefetch(self, start: int = 0) -> Generator[Batch, None, None]:
        """Batches start, start + 1, ... without end. Sources that ask for it are read ahead by a few threads.

        The batches are those of `self[k]`, to the bit. Close the iterator (or let it go) to end the threads.
        """
        if not getattr(self.source, "read_ahead", False):
            while True:
                yield self[start]
                start += 1
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="gencore-data")
        pending: deque[Future[Batch]] = deque()
        try:
            while True:
                while len(pending) < AHEAD:
                    pending.append(pool.submit(self.source.fetch, self.indices(start)))
                    start += 1
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
