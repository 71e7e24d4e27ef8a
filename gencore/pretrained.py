"""Models to and from directories and the Hub: gencore_hub carries the files, this module knows what they mean."""

from __future__ import annotations

import contextlib
import io
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


def load(name: str | Path, **hub: Any) -> Model:
    """See `gencore.from_pretrained`."""
    directory = gencore_hub.locate(name, **hub)
    described = gencore_hub.read_config(directory)
    model_class = _model_class(described, directory)
    with _explained(directory):
        limits = Limits(directory, described)
        limits.check_integers(described["config"])
        config = from_json(model_class.config_class, described["config"], version=described["config_version"])
        with limits, torch.device("meta"):
            limits.check_size(model_class(config))
        model = unfilled(model_class, config)
    gencore_hub.load_into(directory, model, described)
    model.system = described["system"]
    return model.eval()


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
    }


def _model_class(described: dict[str, Any], directory: Path) -> type[Model]:
    system, distribution = described["system"], described["distribution"]
    try:
        return default_registry().resolve(system, "model")
    except UnknownNameError as error:
        raise PluginError(
            f'{directory} holds a model of system "{system}", which nothing installed here provides. It was written by '
            f'{distribution["name"]} {distribution["version"]}: pip install "{distribution["name"]}".'
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
