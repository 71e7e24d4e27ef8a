"""What an objective may ask of the other processes. With one process each of these is the identity."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def process_count() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """This process' number, 0 for the first."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of `tensor` over all processes, equal to the bit on each of them."""
    if process_count() == 1:
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total


def from_first_process(tensor: Tensor) -> Tensor:
    """The first process' `tensor`, on every process."""
    if process_count() == 1:
        return tensor
    shared = tensor.clone()
    dist.broadcast(shared, src=0)
    return shared
