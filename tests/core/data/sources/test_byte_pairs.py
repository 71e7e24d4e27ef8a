"""Byte pairs: learned as the library learns them, read back from the vocabulary alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tokenizers

from gencore.data.sources import byte_pairs
from gencore.data.sources.byte_pairs import END, decode, encode, learned, letters, merges_of, read_vocabulary
from gencore.errors import GencoreError, PluginError

TEXT = "low lower lowest, new newer newest. Low or new: which is lower?\n" * 20
STRANGE = "Zo\xeb's low\t\u2603 na\xefve\n\n  \U0001f600 <|endoftext|>"


def test_pairs_by_hand() -> None:
    """Of "ab ab ab ..." first a and b, which stand together once oftener, then the space and these two."""
    vocabulary = learned("ab " * 9 + "ab", 260)
    assert vocabulary[256:] == ("ab", "\u0120ab", END)
    assert len(set(vocabulary)) == 259
    assert merges_of(vocabulary) == [("a", "b"), ("\u0120", "ab")]
    tokens = encode("ab abb", vocabulary)
    assert [vocabulary[token] for token in tokens] == ["ab", "\u0120ab", "b"]


def test_the_earliest_pair_is_joined_first() -> None:
    """abc is ab and c, since ab was learned before bc; what the tokens before it cut into three is never made."""
    vocabulary = (*sorted(letters()), "ab", "bc", "abc", "xyz", END)
    assert merges_of(vocabulary) == [("a", "b"), ("b", "c"), ("ab", "c")]
    assert [vocabulary[token] for token in encode("abcxyz", vocabulary)] == ["abc", "x", "y", "z"]


@pytest.mark.parametrize("size", [257, 270, 320])
def test_every_text_there_and_back(size: int) -> None:
    vocabulary = learned(TEXT, size)
    assert len(vocabulary) <= size
    for text in (TEXT, STRANGE, ""):
        assert decode(encode(text, vocabulary), vocabulary) == text
    assert (len(encode(TEXT, vocabulary)) < len(TEXT)) == (size > 257)


def test_tokens_are_the_library_s() -> None:
    """What it encodes by the pairs that it has learned, we encode by the vocabulary alone."""
    model = tokenizers.models.BPE()
    own = tokenizers.Tokenizer(model)
    own.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=299, initial_alphabet=alphabet, show_progress=False)
    own.train_from_iterator([TEXT], trainer)
    vocabulary = learned(TEXT, 300)
    for text in (TEXT, STRANGE):
        assert encode(text, vocabulary) == own.encode(text).ids


def test_letters_are_gpt_2_s() -> None:
    assert set(letters()) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    assert (letters()["\u0120"], letters()["\u010a"], letters()["a"]) == (32, 10, 97)
    assert sorted(letters().values()) == list(range(256))


def test_a_published_vocabulary(tmp_path: Path) -> None:
    vocabulary = learned(TEXT, 300)
    shuffled = sorted(vocabulary)
    numbers = {token: vocabulary.index(token) for token in shuffled}
    (tmp_path / "vocab.json").write_text(json.dumps(numbers))
    assert read_vocabulary(tmp_path) == vocabulary
    for wrong in ({"a": 0, "b": 2, END: 3}, {END: 0, "a": 1}, ["a"], {}):
        (tmp_path / "vocab.json").write_text(json.dumps(wrong))
        with pytest.raises(GencoreError, match="no vocabulary of byte pairs"):
            read_vocabulary(tmp_path)
    with pytest.raises(GencoreError, match="cannot be read"):
        read_vocabulary(tmp_path / "none")


def test_an_end_is_shown_as_a_line_s() -> None:
    vocabulary = learned(TEXT, 257)
    assert decode([vocabulary.index("a"), 256, vocabulary.index("b")], vocabulary) == "a\nb"
    assert decode([letters_place(0xC3, vocabulary)], vocabulary) == "\N{REPLACEMENT CHARACTER}"


def letters_place(byte: int, vocabulary: tuple[str, ...]) -> int:
    (letter,) = (letter for letter, value in letters().items() if value == byte)
    return vocabulary.index(letter)


def test_bad_sizes_and_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (256, byte_pairs.MOST + 1):
        with pytest.raises(GencoreError, match="expected 257"):
            learned(TEXT, size)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(PluginError, match=r'pip install "gencore\[text\]"'):
        learned(TEXT, 300)
