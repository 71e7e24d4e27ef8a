"""A command of the command line, run in this process; what it said and what it wrote."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import shlex
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gencore.errors import GencoreError

KINDS = {
    ".png": "image/png",
    ".gif": "image/gif",
    ".wav": "audio/wav",
    ".txt": "text/plain; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".npy": "application/octet-stream",
    ".mid": "audio/midi",
}

_one_at_a_time = threading.Lock()


class File(str):
    """A word of a command that names a file: one that was dropped, or the one that the command writes."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """`words` after `gencore`; `files` that were dropped, by the names that they have in `words`; `output`, the name of
    what is written, None where the command only speaks; `silently`, further words that change nothing of it."""

    words: tuple[str, ...]
    silently: tuple[str, ...] = ()
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    output: str | None = None

    @property
    def text(self) -> str:
        """As a person types it into a shell."""
        return typed(["gencore", *self.words])


def typed(words: list[str]) -> str:
    """Words quoted for bash, zsh or ksh. A sign that steers a terminal, which a stranger's class may have in its name,
    is spelled out: pasted as it is, it could end the quotes."""
    return " ".join(shlex.quote(word) if word.isprintable() else _spelled_out(word) for word in words)


def _spelled_out(word: str) -> str:
    escaped = word.encode("unicode_escape").decode("ascii").replace("'", "\\'")
    return f"$'{escaped}'"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a command said and wrote."""

    said: str
    content: bytes = b""
    name: str = ""

    @property
    def kind(self) -> str:
        """The media type of the content."""
        return KINDS.get(Path(self.name).suffix, "application/octet-stream")

    @property
    def key(self) -> str:
        """The content's digest, by which it is asked for."""
        return hashlib.sha256(self.content).hexdigest()


def run(command: Command) -> Output:
    """Run a command; its files lie in a folder of their own meanwhile. One runs at a time.

    Raises GencoreError for all that a user can mend, with the sentence of the command line, in which the files have
    the names that the user knows.
    """
    with tempfile.TemporaryDirectory(prefix="gencore-explore-") as folder:
        place = Path(folder)
        for name, content in command.files.items():
            (place / name).write_bytes(content)
        words = [str(place / word) if isinstance(word, File) else word for word in (*command.words, *command.silently)]
        said = _run(words, f"{folder}/")
        if command.output is None:
            return Output(said=said)
        written = (place / command.output).read_bytes()
    return Output(said=said, content=written, name=command.output)


def _run(words: list[str], prefix: str) -> str:
    """What the command said, without `prefix` before the names of its files."""
    import typer.main

    from gencore.cli.app import app

    said = io.StringIO()
    try:
        with _one_at_a_time, contextlib.redirect_stdout(said):
            typer.main.get_command(app).main(args=words, prog_name="gencore", standalone_mode=False)
    except Exception as error:
        usage = getattr(error, "format_message", None)  # of click's errors, which typer has of its own
        if usage is None and not isinstance(error, ValueError | OSError | ImportError | ArithmeticError):
            raise
        raise GencoreError(str(usage() if usage else error).replace(prefix, "")) from error
    return said.getvalue().replace(prefix, "")


class Kept:
    """Outputs by their digest, the oldest given up where they are more than `limit` bytes together."""

    def __init__(self, limit: int = 256 * 2**20) -> None:
        self.limit, self._size = limit, 0
        self._outputs: OrderedDict[str, Output] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, output: Output) -> str:
        """Its key."""
        key = output.key
        with self._lock:
            if key not in self._outputs:
                self._size += len(output.content)
            self._outputs[key] = output
            self._outputs.move_to_end(key)
            while self._size > self.limit and len(self._outputs) > 1:
                _, oldest = self._outputs.popitem(last=False)
                self._size -= len(oldest.content)
        return key

    def get(self, key: str) -> Output:
        """Raises GencoreError where it was given up, or never was."""
        with self._lock:
            if key not in self._outputs:
                raise GencoreError("This result is no longer kept: make it again.")
            return self._outputs[key]


def picture_size(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG or GIF."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return image.size


def result_of(output: Output) -> dict[str, Any]:
    """What a template shows of an output: its kind, and the width at which its pixels are seen well."""
    suffix = Path(output.name).suffix
    shown: dict[str, Any] = {"said": output.said.strip(), "name": output.name, "suffix": suffix}
    if suffix in (".png", ".gif"):
        width, height = picture_size(output.content)
        scale = max(1, min(4, 640 // max(width, 1)))
        shown |= {"width": width * scale, "height": height * scale}
    if suffix in (".txt", ".csv"):
        shown["text"] = output.content.decode("utf-8", "replace")
    return shown
