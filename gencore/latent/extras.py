"""Libraries of the extra `eval`, imported on first use."""

from __future__ import annotations

from typing import Any

from gencore.extras import from_extra


def from_eval(module: str, distribution: str) -> Any:
    """The module. Raises PluginError that names the command where it is not installed."""
    return from_extra(module, distribution, "eval")
