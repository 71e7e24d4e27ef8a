"""Model directories of gencore: found by name, read and written safely, and moved over the Hub.

A directory holds `config.json`, `model.safetensors` (or several files and an index), the card `README.md` and
`samples.png`. This package knows no model: it gives a checked configuration and fills a module that its caller built.

    path = locate("org/name@revision")            # or a bundled name, or a directory
    config = read_config(path)
    load_into(path, build_module(config), config)

Importing it imports neither torch nor huggingface_hub.
"""

from .atomic import atomic_directory, atomic_write
from .cache import CachedModel, cached
from .card import Card, Metric, render_card
from .config_file import read_config
from .directory import write_directory
from .errors import HubError, StorageError
from .names import bundled, locate, resolve
from .upload import push
from .weights import load_into

__all__ = [
    "CachedModel",
    "Card",
    "HubError",
    "Metric",
    "StorageError",
    "atomic_directory",
    "atomic_write",
    "bundled",
    "cached",
    "load_into",
    "locate",
    "push",
    "read_config",
    "render_card",
    "resolve",
    "write_directory",
]
