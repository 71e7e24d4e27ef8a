"""gencore convert: a checkpoint of another library as a model directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gencore.cli.show import say
from gencore.errors import GencoreError

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = ("params_ema", "params", "state_dict")
"""Keys under which published files keep their tensors, the first that is there is taken."""


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(convert)


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .pth or .safetensors file.")],
    system: Annotated[str, typer.Option("--as", help="The system whose model it holds, such as esrgan.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A new model directory.")],
) -> None:
    """Turn a published checkpoint into a model directory. Nothing in the file is run: tensors alone are read."""
    from gencore.registry import default_registry

    file, output = Path(os.path.expanduser(file)), Path(os.path.expanduser(output))
    kind: Any = default_registry().resolve(system, "model")
    if not hasattr(kind, "from_published"):
        raise GencoreError(f"{system} opens no checkpoints of other libraries.")
    if output.exists():
        raise GencoreError(f"{output} exists already. Choose another --output.")
    beside: dict[str, Any] = kind.published_beside(file.parent) if hasattr(kind, "published_beside") else {}
    model = kind.from_published(read_tensors(file), **beside)
    model.system = system
    model.save_pretrained(output)
    samples = "sampler" in default_registry().owner(system)[1].roles
    hint = f"sample {output}" if samples else f"translate {output} PICTURE.png -o translated.png"
    say(f"Wrote {output}. Try:\n  gencore {hint}")


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name. Raises GencoreError for another kind of file, or one that holds more."""
    if not file.is_file():
        raise GencoreError(f"{file} does not exist; expected a .pth or .safetensors file.")
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise GencoreError(f"{file} cannot be read as safetensors: {error}.") from error
    if file.suffix not in (".pth", ".pt"):
        raise GencoreError(f"{file} ends in {file.suffix!r}; expected .pth, .pt or .safetensors.")
    return _unwrapped(_unpickled(file), file)


def _unpickled(file: Path) -> Any:
    import pickle

    import torch

    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GencoreError(f"{file} cannot be read: it is damaged, or holds more than tensors ({reason}).") from error


def _unwrapped(content: Any, file: Path) -> dict[str, Tensor]:
    from torch import Tensor

    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise GencoreError(
            f"{file} holds no tensors by name; expected a state dict, or one under {', '.join(map(repr, WRAPPERS))}."
        )
    return dict(content)
