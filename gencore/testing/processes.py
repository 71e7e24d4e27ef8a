"""Two or more processes that train together on this machine's CPU, for tests.

They are started by a fork server with torch loaded, not forked from the test process: a child forked after the parent
has run autograd hangs for ever. A second a test, against six to thirteen for torchrun.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from safetensors.torch import load_file, save_file
from torch import Tensor


def run_processes(
    function: Callable[..., dict[str, Tensor]], count: int, folder: Path, *arguments: Any
) -> list[dict[str, Tensor]]:
    """Call `function(*arguments)` on `count` processes with gloo's environment set; returns what each returned.

    The function must be importable (not local to a test). `folder` takes what they return.
    """
    multiprocessing.set_forkserver_preload(["torch", "torch.distributed", "torch._dynamo", "accelerate"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.start_processes(
        _work, args=(function, count, port, str(folder), arguments), nprocs=count, start_method="forkserver"
    )
    return [load_file(folder / f"returned-{rank}.safetensors") for rank in range(count)]


def _work(
    rank: int,
    function: Callable[..., dict[str, Tensor]],
    count: int,
    port: int,
    folder: str,
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    gc.freeze()  # a training's end looks for garbage: not among all of torch
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    save_file(function(*arguments), Path(folder) / f"returned-{rank}.safetensors")
