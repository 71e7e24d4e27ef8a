"""What a view is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gencore.errors import GencoreError
from gencore.explorer.commands import Command, File
from gencore.explorer.fields import Field, uploads_of, words_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """`verb` is the command, `outputs` the names that what it writes may have, none where it only speaks; `always`,
    words that it always has, `silently` such as need not be shown. A view that is `live` is made anew as soon as a
    field changes, others when asked."""

    name: str
    title: str
    about: str
    verb: str
    fields: tuple[Field, ...] = ()
    outputs: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    silently: tuple[str, ...] = ()
    live: bool = False
    again: int = 0
    """Seconds after which it is made anew by itself; 0 for never."""
    picks: bool = False
    """Whether places in its picture can be selected."""

    def command(self, subject: str, given: Mapping[str, Any]) -> Command:
        """The command of a filled-in form. Raises GencoreError for what does not fit a field."""
        words = [self.verb, subject, *words_of(self.fields, given), *self.always]
        output = self._output(given)
        if output is not None:
            words += ["-o", File(output)]
        taken = {field.name for field in self.fields if field.control == "file"}
        files = uploads_of({name: value for name, value in given.items() if name in taken})
        if output in files:
            raise GencoreError(f"The file is called {output}, as what is written: rename it.")
        return Command(words=tuple(words), silently=self.silently, files=files, output=output)

    def _output(self, given: Mapping[str, Any]) -> str | None:
        if not self.outputs:
            return None
        name = given.get("output") or self.outputs[0]
        if name not in self.outputs:
            raise GencoreError(f"The output is {name!r}; expected one of {', '.join(self.outputs)}.")
        return str(name)
