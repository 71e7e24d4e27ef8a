"""Configs survive JSON exactly; what does not fit is refused by name."""

from __future__ import annotations

import dataclasses
import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencore.config import ModelConfig, check, from_json, replace, to_json
from gencore.errors import GencoreError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    rate: float = 0.1
    flag: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outer(ModelConfig):
    name: str
    size: int = 3
    kind: Literal["a", "b"] = "a"
    shape: tuple[int, ...] = (1, 2)
    pair: tuple[int, float] = (1, 2.0)
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()
    maybe: int | None = None

    def __post_init__(self) -> None:
        check(self.size > 0, "size", self.size, "a positive integer")


inners = st.builds(Inner, rate=st.floats(allow_nan=False, allow_infinity=False), flag=st.booleans())
outers = st.builds(
    Outer,
    name=st.text(),
    size=st.integers(1, 10**12),
    kind=st.sampled_from(["a", "b"]),
    shape=st.lists(st.integers()).map(tuple),
    pair=st.tuples(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    inner=inners,
    several=st.lists(inners, max_size=3).map(tuple),
    maybe=st.none() | st.integers(),
)


@given(outers)
def test_json_round_trip(config: Outer) -> None:
    assert from_json(Outer, json.loads(json.dumps(to_json(config)))) == config


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(Outer)]) | st.text(), json_values) | json_values
)
def test_any_json_is_decoded_or_refused(data: object) -> None:
    try:
        config = from_json(Outer, data)
    except GencoreError:
        return
    assert from_json(Outer, to_json(config)) == config


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "lacks the key 'name'"),
        ({"name": "x", "sise": 1}, "'sise'.*'size'"),
        ({"name": 1}, r"Outer\.name is 1 \(int\); expected str"),
        ({"name": "x", "size": True}, "size is True"),
        ({"name": "x", "size": 1.0}, "expected int"),
        ({"name": "x", "size": -1}, "size is -1; expected a positive integer"),
        ({"name": "x", "kind": "c"}, "one of"),
        ({"name": "x", "shape": 3}, "expected a list"),
        ({"name": "x", "pair": [1]}, "has 1 items; expected 2"),
        ({"name": "x", "inner": {"rate": float("nan")}}, "finite"),
        ({"name": "x", "inner": 3}, "fields of Inner"),
        ({"name": "x", "maybe": "y"}, "expected int.*Or.*expected null"),
        ([], "an object"),
    ],
)
def test_refusals_say_what_and_where(data: object, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        from_json(Outer, data)


def test_replace() -> None:
    config = Outer(name="x")
    assert replace(config, {"size": 5, "shape": [3]}) == Outer(name="x", size=5, shape=(3,))
    with pytest.raises(GencoreError, match="'sizes'.*'size'"):
        replace(config, {"sizes": 5})
    with pytest.raises(GencoreError, match="expected int"):
        replace(config, {"size": "5"})


def test_migrations() -> None:
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Moved(ModelConfig):
        width: int = 1
        version = 3
        migrations = {1: lambda d: {"breadth": d["b"]}, 2: lambda d: {"width": d["breadth"]}}  # noqa: RUF012

    assert from_json(Moved, {"b": 7}, version=1) == Moved(width=7)
    assert from_json(Moved, {"width": 7}, version=3) == Moved(width=7)
    with pytest.raises(GencoreError, match="version 4.*upgrade"):
        from_json(Moved, {}, version=4)
    with pytest.raises(GencoreError, match="no migration from version 0"):
        from_json(Moved, {}, version=0)
