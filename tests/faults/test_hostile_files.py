"""Weights, names and revisions from a stranger: one of our errors, at once, and nothing but that."""

from __future__ import annotations

import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gencore
import gencore_hub
from gencore.cli.hub import _license, _text
from gencore.cli.show import shown
from gencore.testing.conformance import tiny_model

from .hostile import MUST_BE_QUICK, OURS, Watch, lay_traps
from .hostile_files import cards, names, weights

FEW = settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def test_fuzzed_weights(tmp_path: Path) -> None:
    """Whatever the file holds, a model is loaded only if its sha256 is config.json's."""
    folder = tmp_path / "model"
    tiny_model("gan").save_pretrained(folder)
    file = folder / "model.safetensors"
    original = file.read_bytes()
    lay_traps(folder)
    watch = Watch()

    @FEW
    @given(data=st.data())
    def fuzz(data: st.DataObject) -> None:
        hostile = data.draw(weights(original))
        file.write_bytes(hostile)
        began = time.monotonic()
        try:
            with watch:
                gencore.from_pretrained(folder)
            loaded = True
        except OURS:
            loaded = False
        assert watch.seen == []
        assert loaded == (hostile == original)
        assert time.monotonic() - began < MUST_BE_QUICK

    fuzz()


@FEW
@given(name=names, revision=st.none() | names)
def test_fuzzed_names(name: str, revision: str | None) -> None:
    """A name is a directory here, a bundled model or a plain Hub id; nothing that climbs out of the cache."""
    try:
        source = gencore_hub.resolve(name, revision)
    except OURS:
        return
    if source.kind == "hub":
        assert source.repo.count("/") == 1
        assert ".." not in f"{source.repo} {source.revision}"
        assert f"{source.repo}{source.revision or ''}".isprintable()
    else:
        assert source.path is not None
        assert source.path.is_dir()


def test_fuzzed_cards(tmp_path: Path) -> None:
    """A stranger's card is shown without signs that move a terminal's cursor, and its licence is a short plain word."""
    folder = tmp_path / "model"
    tiny_model("gan").save_pretrained(folder)
    watch = Watch()

    @FEW
    @given(data=cards)
    def fuzz(data: bytes) -> None:
        (folder / "README.md").write_bytes(data)
        with watch:
            text, word = shown(_text(folder)), _license(folder)
        assert watch.seen == []
        assert all(character.isprintable() or character in "\n\t" for character in text)
        assert word.isprintable()
        assert len(word) <= 61

    fuzz()
