"""Weights as others publish them: a safetensors file under the names of its own library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from gencore.errors import GencoreError


def read_weights(weights: str | Path | Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of a model.safetensors, or of a state dict, without `prefix` where names begin with it."""
    tensors = load_file(Path(weights).expanduser()) if isinstance(weights, str | Path) else weights
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def take(tensors: Mapping[str, Tensor], name: str, *shape: int | None) -> Tensor:
    """The tensor of that name. Raises GencoreError where there is none, or its shape differs; None is any size."""
    if name not in tensors:
        raise GencoreError(f"the weights lack {name!r}; they have {', '.join(sorted(tensors)[:5])} ...")
    found = tensors[name]
    if shape and (found.ndim != len(shape) or any(a not in (None, b) for a, b in zip(shape, found.shape, strict=True))):
        raise GencoreError(f"the weights' {name!r} is {tuple(found.shape)}; expected {shape}.")
    return found


def count_layers(tensors: Mapping[str, Tensor], stem: str) -> int:
    """How many n there are in names that begin with `stem` and n. Raises GencoreError for none."""
    numbers = {int(name[len(stem) :].split(".")[0]) for name in tensors if name.startswith(stem)}
    if numbers != set(range(len(numbers))) or not numbers:
        raise GencoreError(f"the weights have the layers {sorted(numbers)} under {stem!r}; expected 0, 1, 2 ...")
    return len(numbers)


def fill(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Set all parameters. Raises GencoreError where a name or a shape does not fit."""
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise GencoreError(f"the weights do not fit: {error}") from error
