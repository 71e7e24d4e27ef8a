"""How text from a file, a plugin or a stranger is shown: on a terminal, in an error, in a warning."""

from __future__ import annotations

LONGEST = 8000
"""Characters of an error; what is longer is cut in the middle."""


def shown(text: str, *, line: bool = False) -> str:
    """The text with signs spelled out that would move a terminal's cursor, colour it or turn its lines around.

    Args:
        line: spell line breaks and tabs out, too, so that a name cannot make a line of its own.
    """
    kept = "" if line else "\n\t"
    return "".join(
        sign if sign.isprintable() or sign in kept else ascii(sign)[1:-1] for sign in text.replace("\r\n", "\n")
    )


def paragraph(text: str) -> str:
    """The text of an error: as `shown`, and no longer than a person reads."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... ({len(text):,} characters in all) ... {text[-LONGEST // 4 :]}"
    return shown(text)
