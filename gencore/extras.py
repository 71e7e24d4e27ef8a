"""Libraries of the extras, imported on first use."""

from __future__ import annotations

import importlib
from typing import Any

from gencore.errors import PluginError


def from_extra(module: str, distribution: str, extra: str) -> Any:
    """The module. Raises PluginError that names the command where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PluginError(
            f'This needs {distribution}, which cannot be imported ({error}): pip install "gencore[{extra}]".'
        ) from error
