"""Byte pairs: tokens of one to several bytes, learned from a text (Sennrich, Haddow & Birch 2016, "Neural Machine
Translation of Rare Words with Subword Units", arXiv:1508.07909, algorithm 1; of bytes as in GPT-2, Radford et al. 2019,
section 2.2), by the tokenizers library (extra "text").

A vocabulary says all: the 256 bytes in GPT-2's letters for them, then every merged pair in the order in which it was
learned, then END. Text is cut at spaces and marks, as GPT-2 does it; in each piece, of all neighbours that make a token
together, those that make the earliest one are joined, until there are none. Every text can be written in it.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gencore.errors import GencoreError, PluginError

END = "<|endoftext|>"
SIZE = 1024
MOST = 20_000


def learned(text: str, size: int = SIZE) -> tuple[str, ...]:
    """The vocabulary of at most `size` tokens of a text. Raises GencoreError for a size below 257 or above MOST,
    PluginError without tokenizers."""
    if not 257 <= size <= MOST:
        raise GencoreError(f"the vocabulary shall have {size} tokens; expected 257 (bytes and an end) to {MOST:,}.")
    library = _tokenizers()
    tokenizer = _cutting(library, library.models.BPE())
    trainer = library.trainers.BpeTrainer(
        vocab_size=size - 1, initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    found = tokenizer.get_vocab()
    return (*sorted(found, key=found.__getitem__), END)


def encode(text: str, vocabulary: Sequence[str]) -> list[int]:
    """The tokens of a text. Raises PluginError without tokenizers."""
    ids: list[int] = _tokenizer(tuple(vocabulary)).encode(text).ids
    return ids


def decode(tokens: Sequence[int], vocabulary: Sequence[str]) -> str:
    """The text of tokens; END as a line's end, bytes that are no UTF-8 as U+FFFD."""
    byte = letters()
    parts = [b"\n" if vocabulary[t] == END else bytes(byte[sign] for sign in vocabulary[t]) for t in tokens]
    return b"".join(parts).decode(errors="replace")


@functools.cache
def letters() -> dict[str, int]:
    """GPT-2's letter for each byte: printable bytes stand for themselves, the others for the letters from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


def read_vocabulary(folder: str | Path) -> tuple[str, ...]:
    """The vocabulary of a published tokenizer: vocab.json in a folder, as GPT-2's. Raises GencoreError for another."""
    file = Path(folder).expanduser() / "vocab.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GencoreError(f"{file} cannot be read: {error}") from error
    ordered = tuple(sorted(found, key=found.__getitem__)) if isinstance(found, dict) else ()
    if not ordered or ordered[-1] != END or sorted(found.values()) != list(range(len(found))):
        raise GencoreError(f"{file} is no vocabulary of byte pairs whose last token is {END}.")
    return ordered


def merges_of(vocabulary: Sequence[str]) -> list[tuple[str, str]]:
    """The pair that makes each token of several letters: what it is cut into by the tokens before it. A token that
    they cut into more than two pieces is never made."""
    rank = {token: place for place, token in enumerate(vocabulary)}
    pairs = []
    for place, token in enumerate(vocabulary):
        if len(token) > 1 and token != END and len(parts := _joined(list(token), rank, place)) == 2:
            pairs.append((parts[0], parts[1]))
    return pairs


def _joined(parts: list[str], rank: dict[str, int], before: int) -> list[str]:
    """Neighbours joined, the earliest token first, into tokens before that place."""
    while len(parts) > 1:
        made = [rank.get(a + b, before) for a, b in itertools.pairwise(parts)]
        best = min(made)
        if best >= before:
            break
        at = made.index(best)
        parts = [*parts[:at], parts[at] + parts[at + 1], *parts[at + 2 :]]
    return parts


@functools.lru_cache(maxsize=4)
def _tokenizer(vocabulary: tuple[str, ...]) -> Any:
    library = _tokenizers()
    numbers = {token: place for place, token in enumerate(vocabulary)}
    return _cutting(library, library.models.BPE(vocab=numbers, merges=merges_of(vocabulary)))


def _cutting(library: Any, model: Any) -> Any:
    """The tokenizer of that model, on pieces of letters for bytes, a space at the head of the word behind it."""
    tokenizer = library.Tokenizer(model)
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def _tokenizers() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise PluginError(
            'byte pairs need the tokenizers library, which is not installed: pip install "gencore[text]".'
        ) from error
