"""Checkpoints: a directory of safetensors and JSON, whole or not there at all. Nothing is pickled.

state.safetensors state.json   what `Checkpoint` holds
SHA256SUMS                     of both, as `sha256sum --check` reads it
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gencore.errors import GencoreError
from gencore.training.sharding import placed
from gencore_hub.atomic import atomic_directory

TENSORS, VALUES, SUMS = "state.safetensors", "state.json", "SHA256SUMS"
MOST_VALUES = 2**26
"""Bytes of state.json at most: a thousand times what the largest recipe needs."""
_NAME = re.compile(r"step-(\d{8,})")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Everything that a resumed run needs: named tensors, and JSON-ready values."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]
    origin: str = "the checkpoint"
    """Where it was read, for errors."""


def write(folder: Path, step: int, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write `folder/step-XXXXXXXX` so that it appears complete or not at all; then drop all but the newest `keep`.

    Raises OSError where the disk is full or not writable; what was there before is untouched.
    """
    target = folder / f"step-{step:08d}"
    with atomic_directory(target) as temporary:
        try:
            save_file(_separate(checkpoint.tensors), temporary / TENSORS)
        except SafetensorError as error:  # a full disk, in the words of safetensors
            raise OSError(str(error)) from error
        (temporary / VALUES).write_text(json.dumps(checkpoint.values, indent=1), encoding="utf-8")
        sums = "".join(f"{_sha256(temporary / name)}  {name}\n" for name in (TENSORS, VALUES))
        (temporary / SUMS).write_text(sums, encoding="utf-8")
    for old in checkpoints(folder)[:-keep]:
        old.rename(_free_name(old))  # a kill may leave half of it, but not under its name
    sweep(folder)
    return target


def sweep(folder: Path) -> None:
    """Remove what is left of checkpoints whose removal was killed."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.startswith(".") and _NAME.match(path.name[1:]) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints in a folder, oldest first; links are none."""
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if _NAME.fullmatch(p.name) and p.is_dir() and not p.is_symlink()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def read(folder: Path) -> Checkpoint:
    """Read one checkpoint. Raises GencoreError, naming the file, if one is missing, a link, changed since it was
    written, or not what it should be."""
    try:
        sums = _read_sums(folder)
        for name in (TENSORS, VALUES):
            if _sha256(_regular(folder / name)) != sums[name]:
                raise GencoreError(f"{name} is not what was written: its sha256 is not the one in {SUMS}")
        values = _read_values(folder / VALUES)
        tensors = load_file(folder / TENSORS)
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise GencoreError(
            f"Checkpoint {folder} cannot be read ({error}). Delete it to continue from the one before."
        ) from error
    return Checkpoint(tensors=tensors, values=values, origin=f"checkpoint {folder}")


def _read_sums(folder: Path) -> dict[str, str]:
    """{file: sha256 in hexadecimal} of SHA256SUMS."""
    if not (folder / SUMS).exists():
        raise GencoreError(f"{SUMS} is missing")
    lines = _regular(folder / SUMS).read_bytes()[:4096].decode("utf-8").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if sorted(sums) != sorted((TENSORS, VALUES)):
        raise GencoreError(f"{SUMS} does not name {TENSORS} and {VALUES}")
    return sums


def _read_values(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MOST_VALUES:
        raise GencoreError(f"{path.name} has {path.stat().st_size:,} bytes; expected at most {MOST_VALUES:,}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise GencoreError(f"{path.name} is no JSON: {error}") from error
    except RecursionError:
        raise GencoreError(f"{path.name} is nested too deep") from None
    if not isinstance(values, dict):
        raise GencoreError(f"{path.name} holds a {type(values).__name__}; expected an object")
    return values


def _regular(path: Path) -> Path:
    """The path. Raises GencoreError for a link, a FIFO or whatever else is no regular file, OSError for none at all."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise GencoreError(f"{path.name} is a link or no regular file, and is not followed")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _free_name(old: Path) -> Path:
    """A hidden name beside `old` that nothing has yet."""
    names = [old.with_name(f".{old.name}"), *(old.with_name(f".{old.name}.{k}") for k in range(1000))]
    return next(name for name in names if not name.exists() and not name.is_symlink())


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as named tensors ("3/exp_avg") and JSON-ready values."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for index, slots in state["state"].items():
        for name, value in slots.items():
            (tensors if isinstance(value, Tensor) else values)[f"{index}/{name}"] = value
    return tensors, {"state": values, "param_groups": state["param_groups"]}


def unpack_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Put back what `pack_optimizer` took, or whole tensors into the optimiser of sharded parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *values["state"].items()]:
        index, _, name = key.partition("/")
        of_shape = isinstance(value, Tensor) and value.shape == parameters[int(index)].shape
        state.setdefault(int(index), {})[name] = _like(value, parameters[int(index)]) if of_shape else value
    groups = [
        {key: tuple(item) if isinstance(item, list) and key != "params" else item for key, item in group.items()}
        for group in values["param_groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """Shared out and laid out as the parameter is: a fused step goes through the memory of both in one order."""
    value = placed(value, parameter)
    if value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name begins with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies where two names share memory (tied weights), since safetensors holds each tensor once."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        pointer = tensor.untyped_storage().data_ptr()
        shared = pointer in seen and tensor.numel()
        separate[name] = tensor.clone(memory_format=torch.contiguous_format) if shared else tensor.contiguous()
        seen.add(pointer)
    return separate
