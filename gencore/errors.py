"""The errors that users see: each says what was received, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from gencore_hub.foreign import paragraph


class GencoreError(ValueError):
    """Bad input, found by gencore. Its text is one paragraph that a person can act on."""

    def __str__(self) -> str:
        """The text, with what a stranger wrote in it (names of files, of tensors) as text."""
        return paragraph(ValueError.__str__(self))


class UnknownNameError(GencoreError, KeyError):
    """A name that is not registered."""


class PluginError(GencoreError, ImportError):
    """A plugin that cannot be loaded, or two that claim the same name."""


class NonFiniteError(GencoreError, ArithmeticError):
    """A loss, gradient or sample that is NaN or infinite."""


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence naming the nearest known names, or all of them where none is near. Begins with a space."""
    choices = sorted(known)
    near = difflib.get_close_matches(str(name), choices, n=3, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(repr(n) for n in near)}?"
    return f" Known: {', '.join(choices)}." if choices else " None are known."
