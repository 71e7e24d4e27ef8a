"""Word counts, and the bundled corpus."""

from __future__ import annotations

import pytest

from gencore.data import arrays
from gencore.errors import GencoreError
from gencore_ae.documents import CORPUS
from gencore_ae.parts.docstring_corpus import count_words


def test_count_words() -> None:
    """Words in the order of how many texts hold them; case and punctuation aside; single letters are no words."""
    counts, words = count_words(["The cat, the CAT's mat", "a dog on the mat", "the dog"], 3)
    assert words == ["the", "mat", "dog"]
    assert counts.tolist() == [[2, 1, 0], [1, 1, 1], [1, 0, 1]]
    assert count_words(["the cat the mat", "the mat"], 2, left_out={"the"})[1] == ["mat", "cat"]
    with pytest.raises(GencoreError, match="1 to 5"):
        count_words(["the cat's mat", "dog on"], 9)


def test_bundled_corpus_is_whole() -> None:
    """As many labels as documents, every class there, every document with words."""
    corpus = arrays(CORPUS)
    assert (len(corpus), corpus.shape, corpus.num_classes) == (2736, (2000,), 20)
    assert corpus.x.sum(1).min() >= 20
    assert corpus.label.bincount().min() >= 30
