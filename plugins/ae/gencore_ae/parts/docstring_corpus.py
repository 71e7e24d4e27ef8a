"""Texts to word counts, and the bundled corpus docstrings.npz, made by `write` (see docstrings.NOTICE.txt)."""

from __future__ import annotations

import collections
import importlib
import inspect
import pkgutil
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from gencore.config import check

WORD = re.compile(r"[a-z]{2,}")
PACKAGES = ("numpy", "scipy", "sklearn")


def count_words(
    texts: Sequence[str], num_words: int, *, left_out: Collection[str] = ()
) -> tuple[np.ndarray, list[str]]:
    """Counts (len(texts), num_words) float32 of the words that stand in most texts, and these words, in that order.

    Words are runs of two letters a-z or more, in lower case; those `left_out` do not count. Save the counts as x of a
    .npz file to train on them. Raises GencoreError for fewer different words than `num_words`.
    """
    split = [[word for word in WORD.findall(text.lower()) if word not in left_out] for text in texts]
    spread = collections.Counter(word for words in split for word in dict.fromkeys(words))
    check(1 <= num_words <= len(spread), "num_words", num_words, f"1 to {len(spread)}, the different words")
    vocabulary = [word for word, _ in spread.most_common(num_words)]
    place = {word: column for column, word in enumerate(vocabulary)}
    counts = np.zeros((len(texts), num_words), dtype=np.float32)
    for row, words in enumerate(split):
        for word in words:
            if word in place:
                counts[row, place[word]] += 1
    return counts, vocabulary


def write(path: Path, *, num_words: int = 2000, num_classes: int = 20, shortest: int = 60) -> None:
    """The docstrings of `shortest` words or more in PACKAGES' public modules, of the largest `num_classes` parts.

    Counts what scikit-learn does not take for a stop word.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    home: dict[str, str] = {}
    for package in PACKAGES:
        for module in _modules(package):
            for text in _docstrings(module, package):
                home.setdefault(text, ".".join(module.__name__.split(".")[:2]))
    long = {text: part for text, part in home.items() if len(WORD.findall(text.lower())) >= shortest}
    classes = [part for part, _ in collections.Counter(long.values()).most_common(num_classes)]
    pairs = [(text, classes.index(part)) for text, part in long.items() if part in classes]
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(pairs))
    counts, words = count_words([pairs[i][0] for i in order], num_words, left_out=ENGLISH_STOP_WORDS)
    label = np.array([pairs[i][1] for i in order], dtype=np.int64)
    np.savez_compressed(
        path, x=counts.astype(np.float16), label=label, words=np.array(words), classes=np.array(classes)
    )


def _modules(package: str) -> Iterator[ModuleType]:
    """The package and its public modules, two levels deep; those that cannot be imported are left out."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(root.__path__, package + "."):
        parts = found.name.split(".")[1:]
        if len(parts) > 2 or any(part.startswith("_") or part in ("tests", "testing", "conftest") for part in parts):
            continue
        try:
            yield importlib.import_module(found.name)
        except ImportError:
            continue


def _docstrings(module: ModuleType, package: str) -> Iterator[str]:
    """Those of the module's public functions and classes that the package itself defines, and of their methods."""
    for name in getattr(module, "__all__", [name for name in dir(module) if not name.startswith("_")]):
        thing = getattr(module, name, None)
        members = [value for key, value in vars(thing).items() if key[0] != "_"] if inspect.isclass(thing) else []
        for value in (thing, *members):
            defined = str(getattr(value, "__module__", None) or module.__name__).startswith(package)
            if callable(value) and defined and isinstance(value.__doc__, str):
                yield value.__doc__
