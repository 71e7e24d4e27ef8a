"""By name: a recipe, a new model, a pretrained one."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from gencore.config import replace
from gencore.errors import GencoreError, suggest
from gencore.model import Model
from gencore.recipes import Recipe
from gencore.registry import default_registry


def recipe(name: str, **overrides: Any) -> Recipe:
    """The recipe of system `name`; `overrides` are its own keyword arguments (`gencore info NAME` lists them).

    Raises UnknownNameError for an unknown system, GencoreError for an unknown or unfit argument.
    """
    function = default_registry().resolve(name, "recipe")
    known = inspect.signature(function).parameters
    for key in overrides:
        if key not in known:
            raise GencoreError(f"The recipe of {name!r} has no argument {key!r}.{suggest(key, known)}")
    made = function(**overrides)
    if not isinstance(made, Recipe):
        raise GencoreError(f"The recipe of {name!r} returned a {type(made).__name__}; expected a gencore.Recipe.")
    return made


def create(name: str, **config: Any) -> Model:
    """A new, untrained model of system `name`: its recipe's config with some fields changed.

    Raises GencoreError for an unknown field or value. Weights come from torch's global random state.
    """
    made = recipe(name)
    model = made.model(replace(made.config, config))
    model.system = name
    return model


def from_pretrained(
    name: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    subfolder: str | None = None,
) -> Model:
    """A trained model, in evaluation mode, on the CPU.

    `name` is a bundled model ("dcgan-mnist"), a directory written by `save_pretrained` or `gencore train`, or a Hub
    repository ("org/name" or "org/name@revision"). Only safetensors are read and no code is run, whatever the
    directory holds. The other arguments are those of huggingface_hub.snapshot_download.
    """
    from gencore.pretrained import load

    return load(
        name,
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        force_download=force_download,
        subfolder=subfolder,
    )
