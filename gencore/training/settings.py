"""The settings of a run: what `gencore train` takes, what stands in run.json, and what may change on a resume."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gencore.config import from_json, to_json
from gencore.errors import GencoreError
from gencore_hub.atomic import atomic_write

RUN_FILE = "run.json"
MOST_BYTES = 2**24
CHANGEABLE = (
    "data",
    "second_data",
    "skip_corrupt",
    "cache",
    "checkpoint_every",
    "sample_every",
    "log_every",
    "evaluate_every",
    "keep",
    "tracker",
)
"""Settings that a resume may change: they are about the run, not about the training's steps. The data must be the same
by content, wherever they lie. `steps` may grow."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The settings of one training, as `gencore train` takes them. None: the recipe's own value."""

    system: str
    data: str | None = None
    second_data: str | None = None
    """A second domain beside the first, unpaired (gencore.data.open_source)."""
    steps: int | None = None
    batch_size: int | None = None
    set: tuple[str, ...] = ()
    """Further arguments of the recipe, "name=value", the value in JSON (or a bare word)."""
    init_from: str | None = None
    """A trained model (gencore.from_pretrained) whose weights the training begins with."""
    seed: int = 0
    image_size: int | None = None
    skip_corrupt: bool = False
    data_range: tuple[float, float] | None = None
    condition: str | None = None
    cache: str | None = None
    """Where decoded pixels of a folder of images are kept."""
    checkpoint_every: int = 1000
    sample_every: int = 1000
    log_every: int = 50
    evaluate_every: int | None = None
    """Iterations between losses of the data's test part (gencore.training.heldout); 0: never; None: 100 where one
    process trains on data that come with such a part."""
    keep: int = 2
    accumulation: int = 1
    precision: Literal["no", "bf16"] = "no"
    compile: bool = False
    shard: bool = False
    tracker: Literal["none", "tensorboard"] = "none"

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "sample_every", "log_every", "keep", "accumulation"):
            if getattr(self, name) < 1:
                raise GencoreError(f"{name} is {getattr(self, name)}; expected at least 1.")
        for name in ("steps", "batch_size", "image_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise GencoreError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if self.evaluate_every is not None and self.evaluate_every < 0:
            raise GencoreError(f"evaluate_every is {self.evaluate_every}; expected 1 or more, or 0 for never.")
        if self.seed < 0:
            raise GencoreError(f"seed is {self.seed}; expected 0 or more.")

    def command(self, out: Path) -> str:
        """The command line that repeats the run."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        words = ["gencore", "train", self.system]
        for name, value in to_json(self).items():
            option = "--" + name.replace("_", "-")
            if name == "system" or value == defaults[name] or (name == "set" and not value):
                continue
            if name == "data_range":
                words += [option, ",".join(map(repr, value))]
            elif isinstance(value, list):
                words += [word for item in value for word in (option, item)]
            else:
                words += [option] if value is True else [option, str(value)]
        return shlex.join([*words, "--out", str(out)])

    def changed(self, given: Mapping[str, Any], out: Path) -> RunSettings:
        """These settings of the run in `out` with those given beside a resume, each used or refused by name.

        Raises GencoreError, which names all that cannot change.
        """
        different = {name: value for name, value in given.items() if value != getattr(self, name)}
        refused = [
            f"{name} was {getattr(self, name)!r}, now {value!r}"
            for name, value in different.items()
            if not (name in CHANGEABLE or (name == "steps" and value is not None))
        ]
        if refused:
            raise GencoreError(
                f"{out} cannot be resumed with other settings: {'; '.join(refused)}. Leave them out, or begin a new "
                f"run in another --out; --init-from {shlex.quote(str(out))} begins it with this one's weights."
            )
        return dataclasses.replace(self, **different)


def parse_overrides(pairs: tuple[str, ...]) -> dict[str, Any]:
    """{"name": value} from "name=value" pairs; values are JSON, or text where that is no JSON."""
    overrides: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise GencoreError(f"--set got {pair!r}; expected name=value, such as latent_dim=32.")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        overrides[name.replace("-", "_")] = tuple(value) if isinstance(value, list) else value
    return overrides


def lasting(word: str | None) -> str | None:
    """What is named after --data, in words that mean the same in every working directory: what leads to a file or a
    folder becomes an absolute path, with its form (mnist:, paired:) if it has one."""
    from gencore.data.names import FORMS, plain_names

    if word is None:
        return None
    form, colon, path = word.partition(":")
    if colon and form in FORMS and "DIR" in FORMS[form].usage:
        found = os.path.expanduser(path)
        return f"{form}:{os.path.abspath(found)}" if os.path.exists(found) else word
    if colon and form in FORMS and "PATH" in FORMS[form].usage:
        parts = path.split(",")
        for end in range(len(parts), 0, -1):
            if os.path.exists(found := os.path.expanduser(",".join(parts[:end]))):
                return f"{form}:" + ",".join([os.path.abspath(found), *parts[end:]])
        return word
    found = os.path.expanduser(word)
    if form in FORMS or word in plain_names() or not os.path.exists(found):
        return word
    return os.path.abspath(found)


def lasting_path(word: str | None) -> str | None:
    """The same for a plain path."""
    return None if word is None else os.path.abspath(os.path.expanduser(word))


def lasting_model(word: str | None) -> str | None:
    """The same for what is named after --init-from."""
    from gencore_hub.names import resolve

    found = None if word is None else resolve(word)
    return word if found is None or found.kind != "local" else os.path.abspath(str(found.path))


def load_settings(out: Path) -> RunSettings:
    """The settings of an existing run. Raises GencoreError where there is none."""
    values = {name: value for name, value in _stored(out).items() if name != "fingerprint"}
    try:
        return from_json(RunSettings, values)
    except ValueError as error:
        raise GencoreError(f"{out / RUN_FILE} cannot be read: {error}") from error


def load_fingerprint(out: Path) -> dict[str, Any] | None:
    """What the run's data are (gencore.data.fingerprint); None where that was not written."""
    stored = _stored(out).get("fingerprint")
    if stored is not None and not isinstance(stored, dict):
        raise GencoreError(f"{out / RUN_FILE} cannot be read: its fingerprint is {stored!r:.80}; expected an object.")
    return stored


def store(settings: RunSettings, fingerprint: Mapping[str, Any], out: Path) -> None:
    """Write run.json."""
    text = json.dumps({**to_json(settings), "fingerprint": fingerprint}, indent=1)
    atomic_write(out / RUN_FILE, f"{text}\n".encode())


def _stored(out: Path) -> dict[str, Any]:
    path = out / RUN_FILE
    try:
        kept = path.lstat()
    except FileNotFoundError:
        raise GencoreError(
            f"{out} holds no run.json: there is no run to resume. Start one with gencore train NAME."
        ) from None
    if not stat.S_ISREG(kept.st_mode) or kept.st_size > MOST_BYTES:
        raise GencoreError(f"{path} cannot be read: it is a link, no file, or larger than {MOST_BYTES:,} bytes.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise GencoreError(f"{path} cannot be read: {error or 'it is nested too deep'}") from error
    if not isinstance(values, dict):
        raise GencoreError(f"{path} cannot be read: it holds a {type(values).__name__}; expected an object.")
    return values
