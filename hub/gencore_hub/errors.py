"""What goes wrong between a model and a disk or a wire, as errors that a person can act on."""

from __future__ import annotations

from .foreign import paragraph


class HubError(ValueError):
    """A name, a model directory or a Hub repository is not what was asked for; the text says what to do."""

    def __str__(self) -> str:
        """The text, with what a stranger wrote in it as text."""
        return paragraph(super().__str__())


class StorageError(HubError):
    """Something could not be written. Whatever stood at the target before is still there, whole."""
