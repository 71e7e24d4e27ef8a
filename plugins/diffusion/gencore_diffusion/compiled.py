"""The sampling loop compiled: a step, network and update together, is one graph that every step runs.

`model.compile()` asks for it. What changes from step to step is read on the device by the step's number, a tensor, so
that no step is another program; the noise is drawn outside. On a GPU the graph is captured by CUDA graphs
(torch.compile's mode "reduce-overhead"); their outputs are overwritten by the next run, so that they are copied.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


@functools.cache
def compiled(function: Callable[..., Any], mode: str | None, backend: str | Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled whole for fixed shapes; one for all models, told apart by the compiler's guards."""
    return torch.compile(function, fullgraph=True, dynamic=False, mode=mode, backend=backend)


def run_compiled(
    function: Callable[..., tuple[Tensor, ...]], x: Tensor, *arguments: Any, backend: str | Callable[..., Any]
) -> tuple[Tensor, ...]:
    """function(x, *arguments), compiled; with CUDA graphs where x is on a GPU. Eager, with a warning, once the
    compiler's limit of shapes (torch._dynamo.config.recompile_limit) is reached."""
    from torch._dynamo.exc import FailOnRecompileLimitHit  # half a second, for those who compile

    graphs = x.device.type == "cuda"
    whole = compiled(function, "reduce-overhead" if graphs else None, backend)
    if graphs:
        torch.compiler.cudagraph_mark_step_begin()
    try:
        results = whole(x, *arguments)
    except FailOnRecompileLimitHit:
        warnings.warn(
            f"Running eager: torch.compile has met its limit of shapes ({torch._dynamo.config.recompile_limit}). Draw "
            "batches of equal size, or raise torch._dynamo.config.recompile_limit.",
            stacklevel=2,
        )
        with torch.compiler.set_stance("force_eager"):
            return function(x, *arguments)
    return tuple(result.clone() for result in results) if graphs else results
