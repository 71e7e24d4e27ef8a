"""Hostile safetensors headers, names and revisions, and cards."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from .hostile import DISGUISES, RAW, leaves, places, put, values


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
    ("x" * 300, "..", "/", "@", "--", "\x00", "~", "\\", "%2e%2e", "a", "org", "refs/pr/1", "hf://", ".git", " ", "C:")
)
names = st.lists(awkward | st.text(max_size=5), max_size=6).map("".join)
"""Repository names and revisions, most of them malformed."""

YAML = (
    "---",
    "\n---\n",
    "license: ",
    "license: '",
    "tags:\n- gencore",
    "!!python/object/apply:os.system [x]",
    "&a [*a]",
)
TERMINAL = ("\x1b]0;title\x07", "\x1b[2J", "\r", "\x00", "\u202e")
MARKDOWN = ("<script>", "](javascript:x)", "```", "\n", "| a |", '"', ": ")
RICH = (
    "[bold]",
    "[/nope]",
    "[link=https://x.example]a[/link]",
    "[red",
    "]",
    "\\[",
    "[@click=quit()]b[/]",
    "\x9b31m",
    "\u2028",
)
marks = st.sampled_from(YAML + TERMINAL + MARKDOWN)
texts = st.lists(marks | st.text(max_size=6), max_size=12).map("".join)
hostile_texts = st.lists(st.sampled_from(RICH + TERMINAL + MARKDOWN) | st.text(max_size=6), max_size=8).map("".join)
"""Names that would steer a terminal or be taken for markup."""
cards = texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=64)
"""A stranger's README.md."""
