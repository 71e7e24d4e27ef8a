"""What stands behind a word of the command line (a model, a run, or both), and the views that it has."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

from gencore.errors import GencoreError
from gencore.explorer.views import codes, pictures, samples, words
from gencore.explorer.views.runs import OF_RUNS
from gencore.explorer.views.view import View
from gencore.paths import user_path
from gencore.training.settings import RUN_FILE


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model or run: `word` names it on the command line, `about` says what it is."""

    word: str
    about: str
    views: tuple[View, ...]

    def view(self, name: str) -> View:
        """Raises GencoreError where it has no such view."""
        for one in self.views:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.views)
        raise GencoreError(f"{self.word} has no view {name!r}; it has {known}.")


class Subjects:
    """The words that `gencore explore` was given. A run's model is looked at anew when it has written another one."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self._seen: dict[str, tuple[Any, Subject]] = {}
        self._lock = threading.Lock()
        for number in range(len(words)):
            self[number]

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, number: int) -> Subject:
        """Raises GencoreError for a number that there is not, and for what is neither a model nor a run."""
        if not 0 <= number < len(self.words):
            raise GencoreError(f"There is no model {number + 1}; {len(self.words)} were given.")
        word = self.words[number]
        stamp = _stamp(user_path(word))
        with self._lock:
            if word not in self._seen or self._seen[word][0] != stamp:
                self._seen[word] = stamp, look_at(word)
            return self._seen[word][1]


def _stamp(folder: Path) -> tuple[int, ...]:
    """What changes where a model's files are replaced."""
    files = [folder / name for name in ("config.json", "model.safetensors", RUN_FILE)]
    return tuple(file.stat().st_mtime_ns for file in files if file.is_file())


def look_at(word: str) -> Subject:
    """A model's and a run's views. Raises GencoreError for what is neither."""
    import gencore

    folder = user_path(word)
    is_run = (folder / RUN_FILE).is_file()
    if is_run and not (folder / "config.json").is_file():
        return Subject(word=word, about="a run without a model yet", views=OF_RUNS)
    model: Any = gencore.from_pretrained(word)
    shape = " x ".join(map(str, getattr(model.config, "data_shape", ())))
    about = f"{model.system}, examples of {shape}" if shape else str(model.system)
    return Subject(word=word, about=about, views=(*views_of(model), *(OF_RUNS if is_run else ())))


def views_of(model: Any) -> tuple[View, ...]:
    """What a model can do, as views."""
    found = (
        samples.sample_view(model),
        samples.steps_view(model),
        *codes.walk_views(model),
        pictures.reconstruct_view(model),
        pictures.edit_view(model),
        pictures.translate_view(model),
        codes.codebook_view(model),
        codes.map_view(model),
        pictures.retrieve_view(model),
        samples.nearest_view(model),
        *words.word_views(model),
    )
    return tuple(view for view in found if view is not None)
