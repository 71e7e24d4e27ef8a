"""Models to and from directories and the Hub: gencore_hub carries the files, this module knows what they mean."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import gencore_hub
from gencore.cards import card_for
from gencore.config import ModelConfig, from_json, to_json
from gencore.errors import GencoreError, PluginError, UnknownNameError
from gencore.model import Model
from gencore.registry import default_registry
from gencore_hub.errors import HubError


def load(name: str | Path, **hub: Any) -> Model:
    """See `gencore.from_pretrained`."""
    directory = gencore_hub.locate(name, **hub)
    described = gencore_hub.read_config(directory)
    model_class = _model_class(described, directory)
    config = from_json(model_class.config_class, described["config"], version=described["config_version"])
    _refuse_oversized(model_class, config, directory)
    with torch.random.fork_rng():
        model = model_class(config)
    gencore_hub.load_into(directory, model, described)
    model.system = described["system"]
    return model.eval()


def save(model: Model, directory: Path, *, card: str | None, samples: Tensor | None) -> None:
    """See `Model.save_pretrained`."""
    gencore_hub.write_directory(
        directory,
        config=describe(model),
        module=model,
        card=card if card is not None else card_for(model, name=str(directory), has_samples=samples is not None),
        samples_png=None if samples is None else _png(samples),
    )


def push(model: Model, repo_id: str, *, card: str | None, samples: Tensor | None, **hub: Any) -> str:
    """See `Model.push_to_hub`."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder), card=card, samples=samples)
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


def _refuse_oversized(model_class: type[Model], config: ModelConfig, directory: Path) -> None:
    """A config can declare more memory than the weights could ever fill: compare before anything is allocated."""
    with torch.device("meta"), torch.random.fork_rng():
        skeleton = model_class(config)
    needed = sum(tensor.numel() * tensor.element_size() for tensor in skeleton.state_dict().values())
    present = sum(path.stat().st_size for path in directory.glob("*.safetensors"))
    if needed > 4 * present + 2**20:
        raise HubError(
            f"config.json in {directory} describes a model of {needed:,} bytes, but the weights beside it have "
            f"{present:,}: the files do not belong together."
        )


def _png(samples: Tensor) -> bytes:
    from gencore.data.images import grid

    buffer = io.BytesIO()
    grid(samples).save(buffer, format="PNG")
    return buffer.getvalue()
