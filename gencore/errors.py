"""The errors that users see: each says what was received, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GencoreError(ValueError):
    """Bad input, found by gencore. Its text is one paragraph that a person can act on."""


class UnknownNameError(GencoreError, KeyError):
    """A name that is not registered."""

    __str__ = ValueError.__str__


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
