"""Fused hot paths of generative models: exact, tested without a GPU, useful on their own.

Every operation is one documented function that picks an implementation by `backend`; `explain` says which and why.
Importing this package imports torch, never triton; operations are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

from gencore_kernels.dispatch import (
    Backend,
    BackendUnavailableError,
    Explanation,
    explain,
    registered_operations,
    use_backend,
)

_HOMES = {
    "nearest_code": "nearest_code",
    "NearestCode": "nearest_code",
    "prepare_codebook": "nearest_code",
    "PreparedCodebook": "nearest_code",
    "minibatch_discrimination": "minibatch_discrimination",
    "minibatch_stddev": "minibatch_stddev",
    "diffusion_step": "diffusion_step",
    "step_table": "diffusion_step",
    "quantile_abs": "diffusion_step",
}

__all__ = [
    "Backend",
    "BackendUnavailableError",
    "Explanation",
    "explain",
    "registered_operations",
    "use_backend",
    *_HOMES,
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    for public, module in _HOMES.items():  # importing a sub-package binds its name here: bind the function over it
        if module == _HOMES[name]:
            globals()[public] = getattr(home, public)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted(__all__)
