"""What an objective may ask of the other processes. With one process each of these is the identity."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gencore.errors import GencoreError

_SUPPORTED = ("NO", "MULTI_CPU", "MULTI_GPU")
_OTHERS = {
    "FSDP": "ACCELERATE_USE_FSDP",
    "DEEPSPEED": "ACCELERATE_USE_DEEPSPEED",
    "MEGATRON_LM": "ACCELERATE_USE_MEGATRON_LM",
}
_recorders: list[list[tuple[str, int]]] = []


def process_count() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """This process' number, 0 for the first."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def whole(tensor: Tensor) -> Tensor:
    """All of a sharded parameter (`shard=True`), gathered: call it on every process. Other tensors as they are."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of `tensor` over all processes, equal to the bit on each of them."""
    _record("all_reduce", tensor)
    if process_count() == 1:
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total


def from_first_process(tensor: Tensor) -> Tensor:
    """The first process' `tensor`, on every process."""
    _record("broadcast", tensor)
    if process_count() == 1:
        return tensor
    shared = tensor.clone()
    dist.broadcast(shared, src=0)
    return shared


def equal_on_processes(text: str, device: torch.device) -> bool:
    """Whether every process has the same text; the same answer on each. `device`: what the processes talk through."""
    digest = torch.tensor(list(hashlib.sha256(text.encode()).digest()), device=device)
    return not sum_over_processes((digest != from_first_process(digest)).float()).any().item()


def check_agreement(module: nn.Module) -> None:
    """Raise GencoreError, on all processes, unless the module's buffers are equal to the bit on each of them."""
    for name, buffer in module.named_buffers():
        first = from_first_process(buffer)
        same = ((buffer == first) | ((buffer != buffer) & (first != first))).all()
        if sum_over_processes((~same).float()).item():
            raise GencoreError(
                f"Buffer {name!r} of {type(module).__name__} differs between the processes. Its after_step must leave "
                "the same on each: sum or broadcast what comes from a process' own data, with gencore.distributed."
            )


@contextlib.contextmanager
def recorded() -> Iterator[list[tuple[str, int]]]:
    """("all_reduce" or "broadcast", bytes) of each tensor that the functions above exchange inside the `with`, or
    would exchange if there were several processes."""
    exchanges: list[tuple[str, int]] = []
    _recorders.append(exchanges)
    try:
        yield exchanges
    finally:
        _recorders[:] = [other for other in _recorders if other is not exchanges]


def refuse_unsupported(accelerator: Any) -> None:
    """Raise GencoreError for a way to distribute that the trainer does not offer.

    accelerate takes such a wish from its config file or environment; on a CPU its FSDP plug-in becomes plain data
    parallelism without a word, and elsewhere it would shard parameters that the trainer's phases hold by reference.
    `gencore.training.sharding` is the way to shard.
    """
    wished = [
        name for name, variable in _OTHERS.items() if os.environ.get(variable, "").lower() in ("1", "true", "yes")
    ]
    kind = accelerator.distributed_type.name
    if kind not in _SUPPORTED:
        wished.append(kind)
    if wished:
        raise GencoreError(
            f"This run was launched with {' and '.join(dict.fromkeys(wished))}, which gencore does not take from "
            "accelerate. Launch with torchrun, or choose multi-GPU without these options in accelerate config; to "
            "train fully sharded add --shard (Trainer(shard=True)). `gencore plan NAME` says what fits."
        )


def _record(kind: str, tensor: Tensor) -> None:
    for exchanges in _recorders:
        exchanges.append((kind, tensor.numel() * tensor.element_size()))
