"""Pictures that the translator made earlier, for the critic (Shrivastava et al. 2017, arXiv:1612.07828, section 2.3).

The critic sees each new picture, or instead of it, half of the time, one of the last `size`. CycleGAN keeps 50. Here
the newest takes the place of the oldest; in CycleGAN's program, of the one that was shown.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencore.config import check
from gencore.distributed import process_count, process_rank, sum_over_processes


def of_all_processes(x: Tensor) -> Tensor:
    """Every process' x (N, ...), in their order: (processes N, ...), equal on each of them."""
    if process_count() == 1:
        return x
    places = torch.arange(process_count(), device=x.device) == process_rank()
    return sum_over_processes(places.to(x.dtype).view(-1, *[1] * x.ndim) * x).flatten(0, 1)


class ImagePool(nn.Module):
    """The last `size` pictures of `shape`, in buffers of an objective, equal on all processes.

    In a loss: `shown(fake)`, which reads. In `after_step`, from `Loss.seen`: `take(fake)`, which stores.
    """

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        check(size >= 0, "pool_size", size, "0 or more")
        self.pictures: Tensor
        self.taken: Tensor
        self.register_buffer("pictures", torch.zeros(size, *shape))
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    def shown(self, fake: Tensor) -> Tensor:
        """For each of fake (N, *shape) itself or, half of the time, an old picture; all new until the pool is full."""
        size = len(self.pictures)
        if not size:
            return fake
        old = self.pictures[torch.randint(size, (len(fake),), device=fake.device)].to(fake.dtype)
        kept = (torch.rand(len(fake), device=fake.device) >= 0.5) | (self.taken < size)
        return torch.where(kept.view(-1, *[1] * (fake.ndim - 1)), fake, old)  # laid out in memory as the first one is

    @torch.no_grad()
    def take(self, fake: Tensor) -> None:
        """Store fake (N, *shape) of every process, in the place of the oldest."""
        size = len(self.pictures)
        if not size:
            return
        made = of_all_processes(fake.to(self.pictures.dtype))
        newest = made[-size:]
        order = torch.arange(len(made) - len(newest), len(made), device=made.device)
        self.pictures[(self.taken + order) % size] = newest
        self.taken += len(made)
