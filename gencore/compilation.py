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
    """Why torch.compile cannot work in this process, or None. Asked first: it would fail only at the first call, or not
    at all: without assertions torch 2.13 wrote code that left a term of a sum out, and kept it on disk."""
    if not __debug__:
        return "python -O takes out assertions that torch.compile's code generator needs"
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


def compile_whole(
    function: Callable[..., Any], *, backend: str | Callable[..., Any] = "inductor", mode: str | None = None
) -> Callable[..., Any]:
    """`function` compiled without a graph break, for fixed shapes; `backend` and `mode` as torch.compile's.

    Once the compiler's limit of shapes (torch._dynamo.config.recompile_limit) is met, calls of further shapes run
    eager, with a warning. Inside another compiled function it is traced like any other.
    """
    from torch._dynamo.exc import FailOnRecompileLimitHit  # half a second, for those who compile

    whole = torch.compile(function, fullgraph=True, dynamic=False, backend=backend, mode=mode)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        try:
            return whole(*args, **kwargs)
        except FailOnRecompileLimitHit:
            warnings.warn(
                f"Running eager: torch.compile has met its limit of shapes ({torch._dynamo.config.recompile_limit}). "
                "Use batches of equal size, or raise torch._dynamo.config.recompile_limit.",
                stacklevel=2,
            )
            with torch.compiler.set_stance("force_eager"):
                return function(*args, **kwargs)

    return run


compiled = functools.cache(compile_whole)
"""One compiled function for all that call it, which the compiler's guards tell apart."""


class CompiledCall:
    """What a module's call runs in its place: `forward`, compiled.

    It stands where torch keeps its own (`_compiled_call_impl`), which copies and pickles leave out: a copy computes
    with its own weights, eager until it is compiled itself. A module with hooks runs eager, whatever they do.
    """

    def __init__(self, module: nn.Module, backend: str | Callable[..., Any]) -> None:
        self.module, self.backend = module, backend

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or _has_hooks(self.module):
            return self.module._call_impl(*args, **kwargs)
        return compiled(type(self.module).forward, backend=self.backend)(self.module, *args, **kwargs)


def _has_hooks(module: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind) for kind in kinds)


def compile_regions(
    model: nn.Module, regions: Sequence[str], *, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Compile submodules in place, as `compile_whole`; without a compiler warn and leave them eager.

    `forward` is compiled rather than the module: `nn.Module.compile` captures nothing of an nn.Sequential made of
    torch's own layers (its frames are on Dynamo's skip list), and says so only under fullgraph.
    """
    reason = missing_compiler() if backend == "inductor" else None
    if reason:
        warnings.warn(f"Not compiled: {reason}. Running eager.", stacklevel=2)
        return
    for region in regions:
        part: Any = model.get_submodule(region)
        part._compiled_call_impl = CompiledCall(part, backend)


def is_compiled(part: nn.Module) -> bool:
    """Whether `compile_regions` has compiled this module."""
    return isinstance(vars(part).get("_compiled_call_impl"), CompiledCall)
