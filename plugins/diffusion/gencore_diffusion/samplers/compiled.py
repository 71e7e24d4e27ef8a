"""The sampling loop compiled: a step, network and update together, is one graph that every step runs.

`model.compile()` asks for it. What changes from step to step is read on the device by the step's number, a tensor, so
that no step is another program; the noise is drawn outside. On a GPU the graph is captured by CUDA graphs
(torch.compile's mode "reduce-overhead"); their outputs are overwritten by the next run, so that they are copied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gencore.compilation import compiled


def run_compiled(
    function: Callable[..., tuple[Tensor, ...]], x: Tensor, *arguments: Any, backend: str | Callable[..., Any]
) -> tuple[Tensor, ...]:
    """function(x, *arguments), compiled; with CUDA graphs where x is on a GPU."""
    if x.device.type != "cuda":
        return compiled(function, backend=backend)(x, *arguments)
    torch.compiler.cudagraph_mark_step_begin()
    results = compiled(function, backend=backend, mode="reduce-overhead")(x, *arguments)
    return tuple(result.clone() for result in results)
