"""JSON from strangers: what `json` lets pass but nobody means is refused."""

from __future__ import annotations

import json
import math
from typing import Any

from .errors import HubError

MAX_DEPTH = 64
MAX_DIGITS = 20  # an int64 and its sign


def strict_json(data: bytes, source: str) -> Any:
    """Decodes UTF-8 JSON.

    Args:
        data: the bytes, already limited in size by the caller.
        source: what they are, for the error.

    Raises:
        HubError: not UTF-8 or not JSON, a key that stands twice, NaN, Infinity or a number out of range, a lone
            surrogate, or nesting deeper than `MAX_DEPTH`.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short_int,
        )
        _check_depth_and_text(value)
    except RecursionError:
        raise HubError(f"{source} is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise HubError(f"{source} is not strict JSON: {error}") from error
    return value


def shorten(value: object, limit: int = 80) -> str:
    """`repr(value)`, cut to `limit` characters: what a stranger wrote may be long."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {shorten(key)} stands twice")
        result[key] = value
    return result


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {shorten(text)} is out of range")
    return value


def _short_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"the integer {shorten(text)} has more than {MAX_DIGITS} digits")
    return int(text)


def _check_depth_and_text(value: Any) -> None:
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise RecursionError
        if isinstance(item, str):
            item.encode("utf-8")
        elif isinstance(item, dict):
            stack += [(child, depth + 1) for pair in item.items() for child in pair]
        elif isinstance(item, list):
            stack += [(child, depth + 1) for child in item]
