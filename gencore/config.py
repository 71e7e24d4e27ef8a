"""Configs: frozen, slotted, keyword-only dataclasses, validated on construction, with an exact JSON round trip."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar, Union

from gencore.errors import GencoreError, suggest

ConfigT = TypeVar("ConfigT")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Base of every model's config. Subclass it with the same three dataclass flags.

    `version` counts changes of the fields; `migrations[n]` turns the JSON of version n into that of n + 1.
    Fields may be bool, int, float, str, None, Literal, tuples of these, and further dataclasses.
    """

    version: ClassVar[int] = 1
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}


def check(condition: bool, field: str, received: object, expected: str) -> None:
    """Raise a GencoreError that names the field, the value received and what was expected, unless `condition`."""
    if not condition:
        raise GencoreError(f"{field} is {received!r}; expected {expected}.")


def replace(config: ConfigT, changes: Mapping[str, Any]) -> ConfigT:
    """A copy with some fields changed. Raises GencoreError for an unknown field, with a suggestion."""
    if not changes:
        return config
    known = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    for name in changes:
        if name not in known:
            raise GencoreError(f"{type(config).__name__} has no field {name!r}.{suggest(name, known)}")
    hints = typing.get_type_hints(type(config))
    decoded = {name: _decode(hints[name], value, name) for name, value in changes.items()}
    return dataclasses.replace(config, **decoded)  # type: ignore[type-var]


def to_json(config: Any) -> dict[str, Any]:
    """The config as JSON-ready values; tuples become lists, nested configs become objects."""
    return {field.name: _encode(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_json(cls: type[ConfigT], data: Any, *, version: int | None = None) -> ConfigT:
    """Rebuild a config. Nothing is dropped, guessed or filled in: unknown and ill-typed values raise GencoreError.

    `version` is the config version that wrote `data` (the current one if None); older ones are migrated.
    """
    if issubclass(cls, ModelConfig) and version is not None:
        data = _migrate(cls, data, version)
    return _decode(cls, data, cls.__name__)


def _migrate(cls: type[ModelConfig], data: Any, version: int) -> Any:
    if version > cls.version:
        raise GencoreError(
            f"{cls.__name__} was written in version {version}, newer than the {cls.version} known here: upgrade."
        )
    for old in range(version, cls.version):
        if old not in cls.migrations:
            raise GencoreError(f"{cls.__name__} has no migration from version {old} to {old + 1}.")
        data = cls.migrations[old](dict(data))
    return data


def decode(kind: Any, value: Any, name: str) -> Any:
    """`value` as the annotation `kind` asks: JSON's lists become tuples, whole numbers floats, objects configs.

    Raises GencoreError, with `name`, for a value that does not fit. Kinds that JSON has no form for, such as a
    callable, take their value as it is.
    """
    if not _has_json_form(kind):
        return value
    return _decode(kind, value, name)


def _has_json_form(kind: Any) -> bool:
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType, tuple):
        return all(_has_json_form(k) for k in typing.get_args(kind) if k is not Ellipsis)
    return origin is Literal or dataclasses.is_dataclass(kind) or kind in (bool, int, float, str, type(None), None)


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise GencoreError(f"A config value is {value}; JSON has no such number.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise GencoreError(f"A config value of type {type(value).__name__} has no JSON form.")


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast("type", kind), value, where)
    if origin in (Union, types.UnionType):
        return _decode_union(arguments, value, where)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool) != any(isinstance(a, bool) for a in arguments):
            raise GencoreError(f"{where} is {value!r}; expected one of {list(arguments)}.")
        return value
    if origin is tuple:
        return _decode_tuple(arguments, value, where)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise GencoreError(f"{where} is {value}; expected a finite number.")
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    expected = "null" if kind is type(None) else getattr(kind, "__name__", str(kind))
    raise GencoreError(f"{where} is {value!r} ({type(value).__name__}); expected {expected}.")


def _decode_dataclass(cls: type, value: Any, where: str) -> Any:
    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        raise GencoreError(f"{where} is {value!r}; expected an object with the fields of {cls.__name__}.")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in value:
        if name not in fields:
            raise GencoreError(f"{where} has an unknown key {name!r}.{suggest(str(name), fields)}")
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in value:
            raise GencoreError(f"{where} lacks the key {name!r}.")
    hints = typing.get_type_hints(cls)
    return cls(**{name: _decode(hints[name], item, f"{where}.{name}") for name, item in value.items()})


def _decode_union(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    problems = []
    for kind in arguments:
        try:
            return _decode(kind, value, where)
        except GencoreError as error:
            problems.append(str(error))
    raise GencoreError(" Or: ".join(problems))


def _decode_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise GencoreError(f"{where} is {value!r}; expected a list.")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        kinds: tuple[Any, ...] = (arguments[0],) * len(value)
    else:
        kinds = arguments
    if len(kinds) != len(value):
        raise GencoreError(f"{where} has {len(value)} items; expected {len(kinds)}.")
    return tuple(
        _decode(kind, item, f"{where}[{position}]")
        for position, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )
