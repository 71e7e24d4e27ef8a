"""By name: a recipe, a new model, a pretrained one."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gencore.conditions import Attributes, ClassLabel, Image, Tokens
from gencore.config import decode, replace
from gencore.errors import GencoreError, suggest
from gencore.model import Model
from gencore.recipes import Recipe
from gencore.registry import default_registry

if TYPE_CHECKING:
    import torch


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """Something that a recipe takes by name: an argument of its training, or a field of the model's config or of a
    config in that one."""

    name: str
    kind: Any
    """The annotation, resolved."""
    default: Any
    path: tuple[str, ...]
    """Where it goes: ("steps",), ("config", "width"), ("config", "quantizer", "books")."""


def arguments(function: Callable[..., Recipe]) -> dict[str, Argument]:
    """What a recipe takes: its own parameters, and for a parameter `config` the fields of that config in its place."""
    hints = typing.get_type_hints(function)
    found: dict[str, Argument] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "config" and dataclasses.is_dataclass(parameter.default):
            found = {**_fields(parameter.default, (name,)), **found}
        else:
            kind = hints.get(name, Any)
            found[name] = Argument(name=name, kind=kind, default=parameter.default, path=(name,))
    return found


def _fields(config: Any, path: tuple[str, ...]) -> dict[str, Argument]:
    """The fields of a config; those of a config in it, too, where the outer ones have no such name."""
    kinds, own, inner = typing.get_type_hints(type(config)), {}, {}
    for field in dataclasses.fields(config):
        value, place = getattr(config, field.name), (*path, field.name)
        own[field.name] = Argument(name=field.name, kind=kinds[field.name], default=value, path=place)
        if dataclasses.is_dataclass(value) and not isinstance(value, ClassLabel | Image | Tokens | Attributes):
            inner.update(_fields(value, place))
    return inner | own


def recipe(name: str, **overrides: Any) -> Recipe:
    """The recipe of system `name`; `overrides` are fields of its model's config and arguments of its training
    (`gencore info NAME` lists them), or `config`, the model's config whole. With a `data_shape` the defaults are those
    for such data, where the system says so.

    Raises UnknownNameError for an unknown system, GencoreError for an unknown or unfit argument.
    """
    registry = default_registry()
    function = registry.resolve(name, "recipe")
    shape = overrides.get("data_shape")
    if registry.owner(name)[1].sized and isinstance(shape, tuple | list) and "config" not in overrides:
        overrides = registry.resolve(name, "sized")(tuple(shape), overrides) | overrides
    made = function(**_decoded(f"The recipe of {name!r}", function, overrides))
    if not isinstance(made, Recipe):
        raise GencoreError(f"The recipe of {name!r} returned a {type(made).__name__}; expected a gencore.Recipe.")
    return made


def _decoded(what: str, function: Callable[..., Recipe], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides as the function's keywords, each of its annotated type."""
    known, given = arguments(function), dict(overrides)
    parameters = inspect.signature(function).parameters
    whole = given.pop("config", None)
    if whole is not None and ("config" not in parameters or not dataclasses.is_dataclass(whole)):
        raise GencoreError(f"{what} was given config={whole!r:.80}; it takes {', '.join(known)}.")
    for key in given:
        if key not in known:
            raise GencoreError(f"{what} has no argument {key!r}.{suggest(key, known)}")
    places = {known[key].path: value for key, value in given.items()}
    training = {path[0]: decode(known[path[0]].kind, v, path[0]) for path, v in places.items() if len(path) == 1}
    config = whole if whole is not None else getattr(parameters.get("config"), "default", None)
    changes = {path[1:]: value for path, value in places.items() if len(path) > 1}
    if whole is not None or changes:
        training["config"] = _changed(config, changes)
    return training


def _changed(config: Any, changes: Mapping[tuple[str, ...], Any]) -> Any:
    """A config with the fields at those paths changed, each config at once: its fields may have to fit each other."""
    own = {path[0]: value for path, value in changes.items() if len(path) == 1}
    for name in {path[0] for path in changes if len(path) > 1}:
        inner = {path[1:]: value for path, value in changes.items() if path[0] == name and len(path) > 1}
        if not dataclasses.is_dataclass(own.get(name, getattr(config, name))):
            fields = ", ".join(sorted(path[0] for path in inner))
            raise GencoreError(f"{name} is given whole, and by its fields ({fields}): expected one of the two.")
        own[name] = _changed(own.get(name, getattr(config, name)), inner)
    return replace(config, own)


def create(name: str, **config: Any) -> Model:
    """A new, untrained model of system `name`: its recipe's config with some fields changed.

    Raises GencoreError for an unknown field or value. Weights come from torch's global random state.
    """
    made = recipe(name)
    changed, known = made.config, _fields(made.config, ())
    for key in config:
        if key not in known:
            raise GencoreError(f"{type(changed).__name__} has no field {key!r}.{suggest(key, known)}")
    changed = _changed(changed, {known[key].path: value for key, value in config.items()})
    model = made.model(changed)
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
    dtype: torch.dtype | None = None,
) -> Model:
    """A trained model, in evaluation mode, on the CPU.

    `name` is a bundled model ("dcgan-mnist"), a directory written by `save_pretrained` or `gencore train`, or a Hub
    repository ("org/name" or "org/name@revision"). Only safetensors are read and no code is run, whatever the
    directory holds. `dtype`: what its floating-point numbers become (torch.bfloat16); None: float32, or float64 where
    they were saved so. The other arguments are those of huggingface_hub.snapshot_download.
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
        dtype=dtype,
    )
