"""Models to and from directories and the Hub: gencore_hub carries the files, this module knows what they mean."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as modules
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gencore_hub
from gencore.cards import card_for
from gencore.config import from_json, to_json
from gencore.errors import GencoreError, PluginError, UnknownNameError
from gencore.model import Model
from gencore.registry import default_registry
from gencore_hub.errors import HubError
from gencore_hub.files import open_inside
from gencore_hub.safetensors_header import read_header

MAX_INTEGER = 2**24
SPARE_BYTES = 2**26
SPARE_STEPS = 5000
"""What a config may ask for whatever the weights beside it hold: no harm is done with that much."""
DRAWS = (torch.ops.aten.uniform_.default, torch.ops.aten.normal_.default)


def load(name: str | Path, **hub: Any) -> Model:
    """See `gencore.from_pretrained`."""
    directory = gencore_hub.locate(name, **hub)
    described = gencore_hub.read_config(directory)
    model_class = _model_class(described, directory)
    with _explained(directory):
        limits = _Limits(directory, described)
        limits.check_integers(described["config"])
        config = from_json(model_class.config_class, described["config"], version=described["config_version"])
        with limits, torch.device("meta"), torch.random.fork_rng():
            limits.check_size(model_class(config))
        model = _unfilled(model_class, config)
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


def _unfilled(model_class: type[Model], config: Any) -> Model:
    """A model whose large weights have no values yet: drawing them takes longer than reading the file that replaces
    them. If it draws large tensors that no file replaces, they are drawn after all. The random state is left alone."""
    with torch.random.fork_rng(), _NoDraws() as draws:
        model = model_class(config)
    replaced = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    if draws.skipped <= replaced:
        return model
    with torch.random.fork_rng():
        return model_class(config)


class _Mode(TorchDispatchMode):
    """A mode that is never active inside compiled code. Saying so, by torch's own switch, spares a new process the
    import of torch's compiler, which takes longer than loading 500 MB; drawing on the meta device would import it too.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _NoDraws(_Mode):
    """Tensors of LARGE elements or more are not filled with random numbers; `skipped` are their addresses."""

    LARGE = 2**16

    def __init__(self) -> None:
        super().__init__()
        self.skipped: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in DRAWS and args[0].numel() >= self.LARGE:
            self.skipped.add(args[0].untyped_storage().data_ptr())
            return args[0]
        return function(*args, **(kwargs or {}))


class _Limits(_Mode):
    """A config can declare more than its weights could ever fill: memory, or layers without end.

    The model is first built on the meta device inside `with limits`, which stops the construction at a tensor of more
    than four times the weights' bytes (float16 weights may fill a float64 model), or after more than fifty steps (an
    operation, or a module, parameter or buffer taken up) a tensor in the weights. Nothing is allocated meanwhile.
    """

    def __init__(self, directory: Path, described: dict[str, Any]) -> None:
        super().__init__()
        self.directory, self.thread = directory, threading.get_ident()
        self.present, tensors = 0, 0
        for name in described["weights"]:
            with open_inside(directory, name) as file:
                entries = read_header(file, str(directory / name)).tensors
            tensors += len(entries)
            self.present += sum(entry.end - entry.begin for entry in entries.values())
        self.bytes = 4 * self.present + SPARE_BYTES
        self.steps = 50 * tensors + SPARE_STEPS

    def __enter__(self) -> _Limits:
        registers = (
            modules.register_module_parameter_registration_hook,
            modules.register_module_buffer_registration_hook,
            modules.register_module_module_registration_hook,
        )
        self.hooks = [register(self._count) for register in registers]
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        for hook in self.hooks:
            hook.remove()
        super().__exit__(*exception)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._count()
        if function in DRAWS:
            return args[0]
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._check(tensor.untyped_storage().nbytes())
        return result

    def check_integers(self, value: Any) -> None:
        """Numbers of layers, steps or pixels that no model with these weights has."""
        if isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                self.check_integers(item)
        elif isinstance(value, int) and abs(value) > max(MAX_INTEGER, self.present):
            self._refuse(f"has the number {value:,}")

    def check_size(self, skeleton: Model) -> None:
        """All parameters and buffers together, those too that are not saved."""
        self._check(sum(t.numel() * t.element_size() for t in (*skeleton.parameters(), *skeleton.buffers())))

    def _count(self, *registration: Any) -> None:
        if threading.get_ident() == self.thread:
            self.steps -= 1
            if self.steps < 0:
                self._refuse("describes a model of very many layers")

    def _check(self, needed: int) -> None:
        if needed > self.bytes:
            self._refuse(f"describes a model of {needed:,} bytes or more")

    def _refuse(self, problem: str) -> None:
        raise HubError(
            f"config.json in {self.directory} {problem}, but the weights beside it have {self.present:,} bytes: the "
            "files do not belong together."
        )


def _png(samples: Tensor) -> bytes:
    from gencore.data.images import grid

    buffer = io.BytesIO()
    grid(samples).save(buffer, format="PNG")
    return buffer.getvalue()
