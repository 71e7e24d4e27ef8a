"""C++ of this package as functions, compiled at the first call with the machine's compiler.

That takes seconds, once a machine: torch's inductor, whose flags and vector instructions these are, keeps the library
on disk.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor


def load(source: Path, **counts: tuple[int, int]) -> dict[str, Callable[..., None]]:
    """Functions of `source` that return nothing, by name; `counts` says how many contiguous tensors (None for a null
    pointer), then how many sizes each of them takes."""
    from torch._inductor.codecache import CppCodeCache

    library = CppCodeCache.load(source.read_text())
    return {name: _function(library[name], *count) for name, count in counts.items()}


def _function(function: Any, tensors: int, sizes: int) -> Callable[..., None]:
    function.argtypes, function.restype = [ctypes.c_void_p] * tensors + [ctypes.c_int64] * sizes, None

    def run(*arguments: Tensor | int | None) -> None:
        function(*(_address(argument) if isinstance(argument, Tensor) else argument for argument in arguments))

    return run


def _address(tensor: Tensor) -> int:
    assert tensor.is_cpu
    assert tensor.is_contiguous()
    return tensor.data_ptr()
