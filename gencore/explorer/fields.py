"""A form's field, and the words of a command line that it stands for."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import PurePath, PureWindowsPath
from typing import Any, Literal

from gencore.errors import GencoreError
from gencore.explorer.commands import File

Control = Literal["number", "range", "choice", "text", "flag", "file"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that was dropped: the name that it had, made harmless, and its bytes."""

    name: str
    content: bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One control. `option` is what it is on the command line, "" for a place without a name (a picture).

    `least`, `most`, `step` are of numbers; `choices` are (value, words) of choices; an empty value leaves the option
    out. A flag with `off` says that one where it is not set.
    """

    name: str
    label: str
    option: str = ""
    control: Control = "number"
    value: str = ""
    least: float | None = None
    most: float | None = None
    step: float | Literal["any"] = 1
    choices: tuple[tuple[str, str], ...] = ()
    hint: str = ""
    accept: str = "image/*"
    required: bool = False

    def words(self, given: Any) -> list[str]:
        """Of the command line. Raises GencoreError for what the form would not have let through."""
        if self.control == "file":
            return self._file(given)
        text = "" if given is None else str(given).strip()
        if self.control == "flag":
            return [self.option] if text else []
        if not text:
            if self.required:
                raise GencoreError(f"{self.label} is empty; expected a value.")
            return []
        if self.control in ("number", "range"):
            self._check_number(text)
        if self.choices and text not in [value for value, _ in self.choices]:
            raise GencoreError(f"{self.label} is {text!r}; expected one of {', '.join(v for v, _ in self.choices)}.")
        if not self.option:
            return [text]
        return [f"{self.option}={text}"] if text.startswith("-") else [self.option, text]

    def _file(self, given: Any) -> list[str]:
        if not isinstance(given, Upload) or not given.name:
            if self.required:
                raise GencoreError(f"{self.label} is missing: choose or drop a file.")
            return []
        if not given.content:
            raise GencoreError(f"{given.name} is empty (0 bytes); expected a file of content.")
        return [*filter(None, [self.option]), File(given.name)]

    def _check_number(self, text: str) -> None:
        try:
            value = float(text)
        except ValueError:
            raise GencoreError(f"{self.label} is {text!r}; expected a number.") from None
        if self.step == 1 and not value.is_integer():
            raise GencoreError(f"{self.label} is {text}; expected a whole number.")
        low = -float("inf") if self.least is None else self.least
        high = float("inf") if self.most is None else self.most
        if not low <= value <= high:
            raise GencoreError(f"{self.label} is {text}; expected {low:g} to {high:g}.")


def words_of(fields: tuple[Field, ...], given: Mapping[str, Any]) -> list[str]:
    """The words of a form: those without an option's name come first, in their order."""
    parts = [(field, field.words(given.get(field.name))) for field in fields]
    plain = [word for field, words in parts if not field.option for word in words]
    return plain + [word for field, words in parts if field.option for word in words]


def uploads_of(given: Mapping[str, Any]) -> dict[str, bytes]:
    """The dropped files by name. Raises GencoreError where two have one name."""
    found: dict[str, bytes] = {}
    for value in given.values():
        if isinstance(value, Upload) and value.name:
            if value.name in found:
                raise GencoreError(f"Two of the files are called {value.name}: rename one.")
            found[value.name] = value.content
    return found


def harmless_name(name: str, fallback: str = "picture.png") -> str:
    """A file's own name without its folders, of letters, digits, dots, dashes and lines; no dot or dash first."""
    own = PureWindowsPath(PurePath(name).name).name
    own = re.sub(r"[^A-Za-z0-9._-]+", "_", own).lstrip("._-")[-100:]
    return own or fallback


def seed(value: int = 0) -> Field:
    """The seed of what is drawn."""
    return Field(name="seed", label="Seed", option="--seed", value=str(value), least=0, most=2**53)


def data(label: str = "Data", *, required: bool = True) -> Field:
    """Data as the command line names them."""
    return Field(
        name="data",
        label=label,
        option="--data",
        control="text",
        value="digits",
        required=required,
        hint="As for gencore train: digits, mnist:DIRECTORY, a folder of images, a .npy file, ...",
    )


def picture(label: str = "Picture", name: str = "picture", option: str = "", *, required: bool = True) -> Field:
    """A picture to drop."""
    return Field(
        name=name, label=label, option=option, control="file", required=required, hint="Choose a file or drop it here."
    )
