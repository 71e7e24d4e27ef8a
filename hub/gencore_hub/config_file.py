"""config.json: which system a model directory holds, with which configuration, provided by which distribution."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

from .errors import HubError
from .files import CONFIG, INDEX, PICKLE_SUFFIXES, find, is_weights, open_inside
from .strict_json import shorten, strict_json

FORMAT = "gencore"
MAX_BYTES = 2**22

_TYPES: dict[str, type] = {
    "format": str,
    "system": str,
    "family": str,
    "config": dict,
    "config_version": int,
    "distribution": dict,
    "weights": dict,
}
_OPTIONAL: dict[str, type] = {"class_names": list}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_config(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads and checks `config.json`. Nothing else is opened, nothing is imported.

    Returns:
        A dict with exactly these keys: `format` ("gencore"), `system`, `family` (names), `config` (dict, to be
        decoded by the system's own config class), `config_version` (int), `distribution` (dict with `name` and
        `version`), `weights` (dict: file name -> sha256 in hex, as `write_directory` records it); and where the classes
        of the training data had names `class_names` (list of str).

    Raises:
        HubError: no such directory or file; only pickled weights; or a `config.json` that gencore did not write.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise HubError(f"there is no directory {directory}.")
    if not find(directory, CONFIG).is_file():
        raise HubError(_why_no_config(directory))
    with open_inside(directory, CONFIG) as file:
        data = file.read(MAX_BYTES + 1)
    try:
        if len(data) > MAX_BYTES:
            raise HubError(f"it is larger than {MAX_BYTES} bytes")
        config = strict_json(data, "it")
        check_config(config)
    except HubError as error:
        raise HubError(
            f"config.json is not gencore's: {error} ({find(directory, CONFIG)}). "
            "Expected a directory that gencore's save_pretrained wrote."
        ) from error
    _refuse_pickles_only(directory, config["weights"])
    return config


def check_config(config: Any) -> None:
    """Checks the keys and types of a decoded `config.json`; see `read_config`.

    Raises:
        HubError: says which key is wrong, without naming the file.
    """
    if not isinstance(config, dict):
        raise HubError(f"it holds {shorten(config)} instead of an object")
    if config.get("format") != FORMAT:
        raise HubError(f"its 'format' is {shorten(config.get('format'))} instead of {FORMAT!r}")
    for key in config:
        if key not in _TYPES | _OPTIONAL:
            near = difflib.get_close_matches(key, _TYPES | _OPTIONAL, n=1)
            raise HubError(f"unknown key {shorten(key)}" + (f"; did you mean {near[0]!r}?" if near else ""))
    for key, expected in (_TYPES | _OPTIONAL).items():
        if key not in config:
            if key in _OPTIONAL:
                continue
            raise HubError(f"the key {key!r} is missing")
        if type(config[key]) is not expected:
            raise HubError(f"{key!r} is {shorten(config[key])} instead of {expected.__name__}")
    for key in ("system", "family"):
        _check_name(key, config[key])
    if config["config_version"] < 0:
        raise HubError(f"'config_version' is {config['config_version']} instead of 0 or more")
    if set(config["distribution"]) != {"name", "version"}:
        raise HubError(f"'distribution' is {shorten(config['distribution'])} instead of a name and a version")
    for key, value in config["distribution"].items():
        _check_name(f"distribution {key}", value)
    _check_weights(config["weights"])
    names = config.get("class_names", [])
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise HubError(f"'class_names' holds {shorten(wrong[0])} instead of a name")


def _check_name(key: str, value: object) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise HubError(f"{key!r} is {shorten(value)} instead of a name of letters, digits and '._+!-'")


def _check_weights(weights: dict[str, Any]) -> None:
    if not weights:
        raise HubError("'weights' is empty")
    for name, digest in weights.items():
        if not is_weights(name):
            raise HubError(f"'weights' names {shorten(name)} instead of a file such as 'model.safetensors'")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise HubError(f"the sha256 of {name!r} is {shorten(digest)} instead of 64 hex digits")


def _pickles(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.suffix.lower() in PICKLE_SUFFIXES)


def _why_no_config(directory: Path) -> str:
    if pickles := _pickles(directory):
        return (
            f"{directory} holds no config.json but pickled files ({', '.join(pickles[:3])}). Unpickling runs whatever "
            "code the file contains, so gencore loads safetensors only. Have the model saved with save_pretrained."
        )
    nested = sorted(path.parent.name for path in directory.glob(f"*/{CONFIG}"))[:5]
    hint = f" Did you mean the subfolder {', '.join(map(repr, nested))}?" if nested else ""
    return f"{directory} holds no config.json, so it is not a model directory.{hint}"


def _refuse_pickles_only(directory: Path, weights: dict[str, str]) -> None:
    missing = [name for name in weights if not find(directory, name).exists()]
    if not missing:
        return
    pickles = _pickles(directory)
    if pickles:
        raise HubError(
            f"{directory} lacks {', '.join(missing)} but holds pickled files ({', '.join(pickles[:3])}). gencore never "
            "unpickles: that would run whatever code the file contains. Have the model saved with save_pretrained."
        )
    present = " (the index is there, the files are not)" if (directory / INDEX).exists() else ""
    raise HubError(f"{directory} lacks {', '.join(missing)}{present}. Copy or download the directory again.")
