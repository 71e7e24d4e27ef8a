"""Hostile config.json files: values at random places of a real one replaced, dropped or doubled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

MUST_BE_QUICK = 5.0
"""Seconds for one refusal on a busy machine; the slowest seen takes one."""

numbers = st.sampled_from(
    (
        0,
        -1,
        1,
        2,
        3,
        7,
        100,
        10**4,
        10**6,
        2**24,
        2**31,
        10**9,
        10**12,
        2**63,
        10**19,
        -(10**9),
        0.0,
        -1.5,
        1e-300,
        1e300,
    )
)
leaves = numbers | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
leaves |= st.text(max_size=8) | st.sampled_from(("dense", "conv", "../../etc/passwd", "os:system", "__class__", "\x00"))
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
values |= st.tuples(numbers, st.integers(0, 3000)).map(lambda pair: [pair[0]] * pair[1])
RAW = ("NaN", "Infinity", "-Infinity", "1e999", "[" * 5000 + "]" * 5000, "9" * 5000, '{"a": 1, "a": 2}', "\ud800", "")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside nested dicts and lists, the outermost first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of nested dicts and lists with the value at `path` exchanged."""
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = put(value[path[0]], path[1:], new)
    return changed


@st.composite
def configs(draw: st.DrawFn, config: dict[str, Any]) -> bytes:
    """The bytes of a config.json made from a real one by one to three changes, most of them in the model's config."""
    for _ in range(draw(st.integers(1, 3))):
        inside = [path for path in places(config) if path[:1] == ("config",) and len(path) > 1]
        if inside and draw(st.integers(0, 3)):
            path = draw(st.sampled_from(inside))
        else:
            path = draw(st.sampled_from([path for path in places(config) if path]))
        config = put(config, path, draw(values))
        if not isinstance(config.get("config"), dict):
            break
    text = json.dumps(config)
    if draw(st.integers(0, 5)) == 0:
        text = json.dumps(put(config, path, "@@"))
        text = text.replace('"@@"', draw(st.sampled_from(RAW)), 1)
    return text.encode("utf-8", "surrogatepass")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
