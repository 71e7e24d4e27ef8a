"""Paths as a person writes them."""

from __future__ import annotations

import os
from pathlib import Path


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path with a leading ~ or ~name expanded, for reading and writing alike; shells leave that of --out=~/m."""
    return Path(os.path.expanduser(path))
