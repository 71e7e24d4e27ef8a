"""torch.compile for the regions that a model names; a machine without a compiler is told once, then eager."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn


@functools.cache
def missing_compiler() -> str | None:
    """Why torch.compile cannot work on this machine, or None. Asked first: it would fail only at the first call."""
    if torch.cuda.is_available():
        try:
            import triton  # noqa: F401
        except ImportError:
            return 'Triton is not installed (pip install "gencore[kernels]")'
        return None
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        return "there is no C++ compiler on this machine (install g++ or clang)"
    return None


def compile_regions(
    model: nn.Module, regions: Sequence[str], *, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Compile submodules in place, whole and for fixed shapes; without a compiler warn and leave them eager.

    `forward` is compiled rather than the module: `nn.Module.compile` captures nothing of an nn.Sequential made of
    torch's own layers (its frames are on Dynamo's skip list), and says so only under fullgraph.
    """
    reason = missing_compiler() if backend == "inductor" else None
    if reason:
        warnings.warn(f"Not compiled: {reason}. Running eager.", stacklevel=2)
        return
    for region in regions:
        part = model.get_submodule(region)
        part.forward = torch.compile(part.forward, backend=backend, fullgraph=True, dynamic=False)
