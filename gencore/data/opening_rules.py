"""Options that some data cannot take: a value is used, or refused by name."""

from __future__ import annotations

from gencore.data.options import OpenOptions
from gencore.errors import GencoreError

_REASONS = {
    "skip_corrupt": "skip_corrupt is for folders of images; {spec} is none. Leave it out.",
    "data_range": "data_range is for folders of images and array files; {spec} says its range. Leave it out.",
    "column": "condition is {value!r}, but {spec} has no metadata to take it from. Leave it out.",
    "cache": "cache is for folders of images; {spec} is none. Leave it out.",
    "image_size": "image_size is {value}, but {spec} has no images. Leave it out.",
}


def shorten(value: object) -> str:
    """A value as messages show it: escaped, and cut to 80 characters."""
    text = repr(value[:200]) if isinstance(value, str) and len(value) > 200 else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def refuse(options: OpenOptions, spec: str, *names: str) -> None:
    """Raise GencoreError for the first of these options that was given: a value is used, or refused by name."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value is not False:
            raise GencoreError(_REASONS[name].format(spec=shorten(spec), value=value))
