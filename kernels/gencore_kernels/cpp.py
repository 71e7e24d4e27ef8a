"""The C++ kernels for the CPU, built when the package was installed (setup.py): which library serves, its functions.

There is one library for each instruction set; the widest that the processor has is loaded, at the first use, by ctypes.
A call releases the interpreter's lock, so that parts of it run on threads of this module, as many as
torch.get_num_threads() says. Nothing is compiled here.
"""

from __future__ import annotations

import ctypes
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gencore_kernels import building

_REMEDY = "install g++ or clang, then install gencore again from its sources (in a checkout: pip install -e .)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Libraries:
    """built: the instruction sets that there is a library for, the widest first. used: the one that serves here, None
    without any, and then obstacle says why."""

    built: tuple[str, ...]
    used: str | None
    obstacle: str | None


def libraries(folder: Path = building.FOLDER) -> Libraries:
    """What stands in `folder`, and what this processor takes of it."""
    known, digest = tuple(building.instruction_sets()), building.digest()
    built = tuple(name for name in known if _path(folder, name, digest).exists())
    used = next((name for name in built if name in _executable(known)), None)
    obstacle = None
    if not known:
        obstacle = "there are no C++ kernels for this kind of processor"
    elif used is None and not built and any(folder.glob("cpu_*.so")):
        obstacle = f"the C++ kernels were built from other sources than these; {_REMEDY}"
    elif used is None:
        obstacle = f"the C++ kernels were not built when gencore was installed; {_REMEDY}"
    return Libraries(built=built, used=used, obstacle=obstacle)


@functools.cache
def found() -> Libraries:
    """`libraries()`, once a process."""
    return libraries()


def run(name: str, *arguments: Tensor | int | float | None, units: int, grain: int = 1) -> None:
    """Calls the kernel `name` with `arguments`, then the first and the end of some of its `units` of work.

    arguments: contiguous tensors on the CPU (None: a null pointer), integers, and floats for parameters of type double.
    grain: units below which another thread costs more than it saves; no part is smaller, but the last.
    """
    function = _function(name, *(float if isinstance(argument, float) else int for argument in arguments))
    values = [_address(argument) if isinstance(argument, Tensor) else argument or 0 for argument in arguments]
    grains = -(-units // grain)
    threads = min(torch.get_num_threads(), grains)
    if threads <= 1:
        function(*values, 0, units)
        return
    edges = [*(grain * (grains * part // threads) for part in range(threads)), units]
    parts = [_pool().submit(function, *values, *edges[part : part + 2]) for part in range(1, threads)]
    function(*values, *edges[:2])
    for part in parts:
        part.result()


@functools.cache
def _function(name: str, *kinds: type) -> Any:
    function = getattr(_library(), name)
    function.argtypes = [
        *(ctypes.c_double if kind is float else ctypes.c_int64 for kind in kinds),
        *[ctypes.c_int64] * 2,
    ]
    function.restype = None
    return function


@functools.cache
def _library() -> ctypes.CDLL:
    used = found().used
    assert used is not None, found().obstacle
    return ctypes.CDLL(str(_path(building.FOLDER, used, building.digest())))


def _path(folder: Path, instruction_set: str, digest: str) -> Path:
    return folder / f"{building.library_name(instruction_set, digest)}.so"


def _executable(known: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `known` that this processor has, as torch finds (ATEN_CPU_CAPABILITY lowers it)."""
    capability = torch.backends.cpu.get_cpu_capability()
    too_wide: dict[str, tuple[str, ...]] = {"AVX512": (), "AVX2": ("avx512",)}
    left_out = too_wide.get(capability, ("avx512", "avx2"))
    return tuple(name for name in known if name not in left_out)


def _address(tensor: Tensor) -> int:
    assert tensor.is_cpu
    assert tensor.is_contiguous()
    return tensor.data_ptr()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="gencore-kernels")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has the pool's object, but none of its threads
