"""Which implementation serves a call, and why.

Three implementations exist for every operation: `reference` (float64, reads like the formula, the oracle of every
test), `torch` (plain PyTorch, every device) and `triton` (fused kernels: CUDA of compute capability 8.0 or newer, or
any tensor under Triton's interpreter, `TRITON_INTERPRET=1`). Some have a fourth: `compiled` (a fused CPU kernel in C++,
built when the package was installed, where there was a compiler). A caller picks one with `backend=`; "auto" looks at
the innermost `use_backend` block, then at the environment variable GENCORE_KERNELS, then decides by itself. An
implementation that was asked for and cannot run raises; only "auto" moves on to the next one. As a default, "compiled"
leaves the operations that have no such implementation to "auto". Nothing here starts a compiler.
Triton is never imported to answer the question.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from gencore_kernels import cpp

Backend = Literal["auto", "reference", "torch", "triton", "compiled"]
Implementation = Literal["reference", "torch", "triton", "compiled"]

BACKENDS: tuple[str, ...] = get_args(Backend)
ENVIRONMENT_VARIABLE = "GENCORE_KERNELS"
MINIMUM_CAPABILITY = (8, 0)
TRITON_DTYPES = (torch.float16, torch.bfloat16, torch.float32)

_Function = TypeVar("_Function", bound=Callable[..., Any])

_override: ContextVar[str | None] = ContextVar("gencore_kernels_backend", default=None)


def _constant_while_tracing(function: _Function) -> _Function:
    """torch.compile calls `function` while tracing and keeps the answer. torch.compiler.assume_constant_result does the
    same, but importing it costs seconds and imports triton."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


class BackendUnavailableError(ValueError):
    """The implementation that was asked for cannot serve this call; the message says why and what can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What dispatch needs to know of an operation.

    name: the public function's name. gradient_order: the highest derivative that it supports (0, 1 or 2).
    obstacle: `obstacle(implementation, *args, **kwargs)`, called with the public function's own arguments, returns None
    when that implementation can serve the call, else one sentence saying why not. compiled: whether there is such an
    implementation.
    """

    name: str
    gradient_order: int
    obstacle: Callable[..., str | None]
    compiled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The implementation that serves a call, and the reason in one sentence."""

    implementation: Implementation
    reason: str


_operations: dict[str, Operation] = {}
_ON_CPU = "no tensor is on a CUDA device: plain PyTorch for the CPU"
_WITHOUT_CUDA = Explanation(implementation="torch", reason=_ON_CPU)
_COMPILED = Explanation(implementation="compiled", reason="no tensor is on a CUDA device: C++ for the CPU")
_EXPORTED = Explanation(implementation="torch", reason="an exported program may run where there are no C++ kernels")


def register(operation: Operation) -> Operation:
    """Makes an operation known to `explain`. Raises ValueError when the name is taken."""
    if operation.name in _operations:
        raise ValueError(f"operation {operation.name!r} is registered already")
    _operations[operation.name] = operation
    return operation


def registered_operations() -> tuple[Operation, ...]:
    """The operations imported so far, in order of registration."""
    return tuple(_operations.values())


def checked_backend(backend: str, source: str = "backend") -> Backend:
    """`backend` itself when it is a known name; ValueError naming `source` otherwise."""
    if backend not in BACKENDS:
        raise ValueError(f"{source} is {backend!r}; expected one of {', '.join(map(repr, BACKENDS))}")
    return backend  # type: ignore[return-value]


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Sets what "auto" means inside a `with` block (per thread and task). An explicit `backend=` still wins.

    A function compiled by torch.compile keeps the choice that held while it was traced.
    Raises ValueError for an unknown name.
    """
    token = _override.set(checked_backend(backend))
    try:
        yield
    finally:
        _override.reset(token)


@_constant_while_tracing
def default_backend() -> str:
    """What "auto" stands for here: the innermost `use_backend`, else GENCORE_KERNELS, else "auto"."""
    chosen = _override.get()
    if chosen is not None:
        return chosen
    return checked_backend(os.environ.get(ENVIRONMENT_VARIABLE, "auto") or "auto", ENVIRONMENT_VARIABLE)


@_constant_while_tracing
def interpreting() -> bool:
    """Whether Triton's interpreter is on. Triton reads the variable when kernels are defined, so set it at start-up."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on")


@_constant_while_tracing
def triton_installed() -> bool:
    """Whether `import triton` would find a package (nothing is imported)."""
    return _find_triton()


@functools.cache
def _find_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@_constant_while_tracing
def _capability(device_index: int) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device_index)


def triton_obstacle(tensors: Sequence[Tensor | None], dtypes: Sequence[torch.dtype] = TRITON_DTYPES) -> str | None:
    """Why Triton kernels cannot take these tensors; None when they can. Entries that are None are skipped.

    All tensors must have a dtype of `dtypes`, and live on a CUDA device of capability 8.0 or newer unless the
    interpreter is on.
    """
    if not triton_installed():
        return "triton is not installed (pip install triton)"
    for tensor in tensors:
        if tensor is None:
            continue
        if tensor.dtype not in dtypes:
            return f"the triton kernels take {_names(dtypes)}, not {_names([tensor.dtype])}"
        if interpreting():
            continue
        if tensor.device.type != "cuda":
            return f"the tensors are on {tensor.device.type}, and triton kernels need CUDA (or TRITON_INTERPRET=1)"
        index = tensor.device.index if tensor.device.index is not None else 0
        if _capability(index) < MINIMUM_CAPABILITY:
            major, minor = _capability(index)
            return f"the GPU has compute capability {major}.{minor}; the triton kernels need 8.0 or newer"
    return None


def compiled_obstacle(tensors: Sequence[Tensor | None], dtypes: Sequence[torch.dtype] = (torch.float32,)) -> str | None:
    """Why a C++ kernel for the CPU cannot take these tensors, of one of `dtypes`; None when it can."""
    for tensor in tensors:
        if tensor is not None and (tensor.device.type != "cpu" or tensor.dtype not in dtypes):
            what = f"{_names([tensor.dtype])} on {tensor.device.type}"
            return f"the compiled kernel takes {_names(dtypes)} on the CPU, not {what}"
    return _missing_library()


def _names(dtypes: Sequence[torch.dtype]) -> str:
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)


@_constant_while_tracing
def _missing_library() -> str | None:
    return cpp.found().obstacle


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)


def choose(operation: Operation, backend: str, *args: Any, **kwargs: Any) -> Explanation:
    """The implementation for one call; `args` and `kwargs` are the public function's own, without `backend`.

    Raises ValueError for an unknown backend and BackendUnavailableError for one that cannot serve this call.
    """
    asked: str = checked_backend(backend)
    source = "asked for by backend="
    if asked == "auto":
        asked = default_backend()
        source = f"the default set by use_backend or {ENVIRONMENT_VARIABLE}"
        if asked == "compiled" and not operation.compiled:
            asked = "auto"
    if asked != "auto":
        if asked == "compiled" and not operation.compiled:
            obstacle: str | None = "this operation has no such implementation"
        else:
            obstacle = operation.obstacle(asked, *args, **kwargs)
        if obstacle is not None:
            raise BackendUnavailableError(
                f"{operation.name}: backend {asked!r} ({source}) cannot run: {obstacle}. "
                "Pass backend='auto' to let gencore_kernels choose."
            )
        return Explanation(implementation=asked, reason=source)  # type: ignore[arg-type]
    if not any(isinstance(value, Tensor) and value.device.type == "cuda" for value in (*args, *kwargs.values())):
        return _on_cpu(operation, *args, **kwargs) if operation.compiled else _WITHOUT_CUDA
    obstacle = operation.obstacle("triton", *args, **kwargs)
    if obstacle is None:
        return Explanation(implementation="triton", reason="CUDA tensors of a supported dtype, and triton is installed")
    if not triton_installed():
        _warn_once(f"{operation.name}: {obstacle}; the slower PyTorch path serves CUDA tensors instead")
    return Explanation(implementation="torch", reason=obstacle)


def _on_cpu(operation: Operation, *args: Any, **kwargs: Any) -> Explanation:
    """What "auto" takes for an operation that has a C++ kernel, without CUDA tensors."""
    if torch.compiler.is_exporting():
        return _EXPORTED
    obstacle = operation.obstacle("compiled", *args, **kwargs)
    return _COMPILED if obstacle is None else Explanation(implementation="torch", reason=f"{_ON_CPU}: {obstacle}")


def explain(operation: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """Which implementation `operation(*args, **kwargs)` would run, and why, without running it.

    operation: the public function, or its name. Raises what the call itself would raise in choosing, and ValueError for
    an unknown operation.
    """
    name = operation if isinstance(operation, str) else getattr(operation, "__name__", repr(operation))
    if name not in _operations:
        raise ValueError(f"no operation {name!r}; known: {', '.join(sorted(_operations)) or 'none'}")
    return choose(_operations[name], kwargs.pop("backend", "auto"), *args, **kwargs)
