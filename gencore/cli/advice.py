"""Errors as the person who typed a command can follow them: its options, and of others which commands have them."""

from __future__ import annotations

import re

from typer.core import TyperGroup

_BOTH = re.compile(r"\b\w+=(?:\([^()]*\)|[^\s()]+) \((--[a-z][^()]*)\)")
"""skip_corrupt=True (--skip-corrupt): for Python, and for the command line."""
_KEYWORD = re.compile(r"\b([a-z]\w*)=(?:\.\.\.|True\b)")
"""subfolder=..., for Python alone."""
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")


def fitted(text: str, words: list[str], commands: TyperGroup) -> str:
    """The text of an error that ended `gencore WORDS`: keywords of Python become options where there is one of that
    name, and an option that the command has not is said to be another's."""
    owners: dict[str, list[str]] = {}
    for name, command in commands.commands.items():
        for option in {word for parameter in command.params for word in parameter.opts}:
            owners.setdefault(option, []).append(name)

    def option_of(match: re.Match[str]) -> str:
        option = "--" + match[1].replace("_", "-")
        return option if option in owners else match[0]

    text = _KEYWORD.sub(option_of, _BOTH.sub(r"\1", text))
    ours = next((word for word in words if word in commands.commands), None)
    notes = []
    for option in dict.fromkeys(_OPTION.findall(text)):
        others = owners.get(option, [])
        named = any(f"gencore {other}" in text for other in others)
        if others and ours is not None and ours not in others and not named:
            notes.append(f"{option} is an option of gencore {', '.join(others[:3])}.")
    return " ".join([text, *notes])
