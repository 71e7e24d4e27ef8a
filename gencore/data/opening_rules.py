"""Options that some data cannot take: a value is used, or refused by name."""

from __future__ import annotations

from gencore.data.options import OpenOptions
from gencore.errors import GencoreError

_REASONS = {
    "skip_corrupt": "skip_corrupt is for folders of images; {spec!r} is none. Leave it out.",
    "data_range": "data_range is for folders of images and array files; {spec!r} says its range. Leave it out.",
    "column": "condition is {value!r}, but {spec!r} has no metadata to take it from. Leave it out.",
    "image_size": "image_size is {value}, but {spec!r} has no images. Leave it out.",
}


def refuse(options: OpenOptions, spec: str, *names: str) -> None:
    """Raise GencoreError for the first of these options that was given: a value is used, or refused by name."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value is not False:
            raise GencoreError(_REASONS[name].format(spec=spec, value=value))
