"""Models to and from directories and the Hub: gencore_hub carries the files, this module knows what they mean."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import gencore_hub
from gencore.building import Limits, unfilled
from gencore.cards import card_for
from gencore.config import from_json, to_json
from gencore.errors import GencoreError, PluginError, UnknownNameError
from gencore.registry import default_registry
from gencore_hub.errors import HubError

if TYPE_CHECKING:
    from gencore.model import Model


def load(name: str | Path, *, dtype: torch.dtype | None = None, **hub: Any) -> Model:
    """See `gencore.from_pretrained`."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise GencoreError(f"dtype is {dtype!r}; expected torch.float32, float16, bfloat16 or float64, or none.")
    directory = gencore_hub.locate(name, **hub)
    described = gencore_hub.read_config(directory)
    model_class = _model_class(described, directory)
    with _explained(directory):
        limits = Limits(directory, described)
        limits.check_integers(described["config"])
        config = from_json(model_class.config_class, described["config"], version=described["config_version"])
        with _float32():
            with limits, torch.device("meta"):
                limits.check_size(model_class(config))
            model = unfilled(model_class, config)
    if limits.wide and not any(tensor.dtype == torch.float64 for tensor in model.state_dict().values()):
        model.double()
    gencore_hub.load_into(directory, model, described)
    model.system = described["system"]
    model.class_names = tuple(described.get("class_names", ()))
    return (model if dtype is None else model.to(dtype)).eval()


_default_dtype = threading.Lock()


@contextlib.contextmanager
def _float32() -> Iterator[None]:
    """Models are built in float32, which their files were written from, whatever torch's default is. torch has one
    default for all threads: it is touched only where it was changed."""
    before = torch.get_default_dtype()
    if before == torch.float32:
        yield
        return
    with _default_dtype:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def save(model: Model, directory: Path, *, card: str | None, samples: Tensor | None, name: str | None = None) -> None:
    """See `Model.save_pretrained`. `name` is what the card tells readers to load, if not the directory."""
    described = describe(model)
    if card is None:
        card = card_for(model, name=name or str(directory), has_samples=samples is not None)
    gencore_hub.write_directory(
        directory,
        config=described,
        module=model,
        card=card,
        samples_png=None if samples is None else _png(samples),
    )


def push(model: Model, repo_id: str, *, card: str | None, samples: Tensor | None, **hub: Any) -> str:
    """See `Model.push_to_hub`."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder), card=card, samples=samples, name=repo_id)
        return gencore_hub.push(folder, repo_id, **hub)


def describe(model: Model) -> dict[str, Any]:
    """What config.json says of a model. Raises GencoreError if it has no system name."""
    if model.system is None:
        raise GencoreError(
            f"This {type(model).__name__} has no system name, so nobody could load it: make it with gencore.create, or "
            'set model.system = "NAME".'
        )
    plugin, spec = default_registry().owner(model.system)
    return {
        "system": spec.name,
        "family": spec.family,
        "config": to_json(model.config),
        "config_version": type(model.config).version,
        "distribution": {"name": plugin.distribution, "version": plugin.version},
        **({"class_names": list(model.class_names)} if model.class_names else {}),
    }


def _model_class(described: dict[str, Any], directory: Path) -> type[Model]:
    system, distribution = described["system"], described["distribution"]
    try:
        return default_registry().resolve(system, "model")
    except UnknownNameError as error:
        raise PluginError(
            f'{directory} holds a model of system "{system}", which nothing installed here provides. Its config.json '
            f"says that it was written by {distribution['name']} {distribution['version']}; nobody has checked that. "
            "Installing a package runs its authors' code: if you know and trust them, "
            f'pip install "{distribution["name"]}".'
        ) from error


@contextlib.contextmanager
def _explained(directory: Path) -> Iterator[None]:
    """Whatever a stranger's config makes a constructor raise, the user reads which file is at fault."""
    try:
        yield
    except (GencoreError, HubError):
        raise
    except Exception as error:
        raise HubError(
            f"config.json in {directory} describes a model that cannot be built: {type(error).__name__}: {error}."
        ) from error


def _png(samples: Tensor) -> bytes:
    from gencore.data.images import grid

    buffer = io.BytesIO()
    grid(samples).save(buffer, format="PNG")
    return buffer.getvalue()
