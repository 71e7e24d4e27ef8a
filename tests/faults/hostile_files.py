"""Hostile safetensors headers, names and revisions."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from .hostile import RAW, leaves, places, put, values

DISGUISES = (b"PK\x03\x04", b"\x80\x04\x95", b"\x1f\x8b", b"version https://git-lfs.github.com/spec/v1\n", b"")


@st.composite
def weights(draw: st.DrawFn, data: bytes) -> bytes:
    """A safetensors file made from a real one: its header changed, its length changed, or another kind of file."""
    length = int.from_bytes(data[:8], "little")
    header: Any = json.loads(data[8 : 8 + length])
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.sampled_from(DISGUISES)) + draw(st.binary(max_size=64))
    if kind == 1:
        return draw(st.integers(0, 2**64 - 1)).to_bytes(8, "little") + data[8:]
    if kind == 2:
        return data[: draw(st.integers(0, len(data) - 1))]
    path = draw(st.sampled_from([path for path in places(header) if path]))
    if kind == 3:
        text = json.dumps(put(header, path, "@@")).replace('"@@"', draw(st.sampled_from(RAW)), 1)
    elif kind == 4:
        text = json.dumps(header)[:-1] + f', "{path[0]}": {json.dumps(header[path[0]])}}}'
    else:
        text = json.dumps(put(header, path, draw(values | leaves)))
    encoded = text.encode("utf-8", "surrogatepass")
    return len(encoded).to_bytes(8, "little") + encoded + data[8 + length :]


awkward = st.sampled_from(
    ("..", "/", "@", "--", "\x00", "~", "\\", "%2e%2e", "a", "org", "refs/pr/1", "hf://", ".git", " ", "C:")
)
names = st.lists(awkward | st.text(max_size=5), max_size=6).map("".join)
"""Repository names and revisions, most of them malformed."""
