"""Checkpoints: a directory of safetensors and JSON, whole or not there at all. Nothing is pickled."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
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

_NAME = re.compile(r"step-(\d{8})")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Everything that a resumed run needs: named tensors, and JSON-ready values."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


def write(folder: Path, step: int, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write `folder/step-XXXXXXXX` so that it appears complete or not at all; then drop all but the newest `keep`.

    Raises OSError where the disk is full or not writable; what was there before is untouched.
    """
    target = folder / f"step-{step:08d}"
    with atomic_directory(target) as temporary:
        try:
            save_file(_separate(checkpoint.tensors), temporary / "state.safetensors")
        except SafetensorError as error:  # a full disk, in the words of safetensors
            raise OSError(str(error)) from error
        (temporary / "state.json").write_text(json.dumps(checkpoint.values, indent=1), encoding="utf-8")
    for old in checkpoints(folder)[:-keep]:
        dropped = old.rename(old.with_name(f".{old.name}"))  # a kill may leave half of it, but not under its name
        shutil.rmtree(dropped)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())


def read(folder: Path) -> Checkpoint:
    """Read one checkpoint. Raises GencoreError if a file is missing, cut short or not what it should be."""
    try:
        tensors = load_file(folder / "state.safetensors")
        values = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise GencoreError(
            f"Checkpoint {folder} cannot be read ({error}). Delete it to continue from the one before."
        ) from error
    return Checkpoint(tensors=tensors, values=values)


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
