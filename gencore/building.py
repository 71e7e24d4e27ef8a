"""A model built from a stranger's config: no more memory or layers than the weights beside it can fill."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gencore_hub.errors import HubError
from gencore_hub.files import open_inside
from gencore_hub.safetensors_header import Header, read_header

MAX_INTEGER = 2**24
SPARE_BYTES = 2**26
SPARE_STEPS = 5000
"""What a config may ask for whatever the weights beside it hold: no harm is done with that much."""
DRAWS = (torch.ops.aten.uniform_.default, torch.ops.aten.normal_.default)


def unfilled(model_class: type[nn.Module], config: Any) -> Any:
    """A model whose large weights have no values yet: drawing them takes longer than reading the file that replaces
    them. If it draws large tensors that no file replaces, they are drawn after all. Torch's random streams are neither
    read nor set, so that a training in another thread goes on undisturbed."""
    with _OwnDraws(skip=True) as draws:
        model = model_class(config)
    replaced = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    if draws.skipped <= replaced:
        return model
    with _OwnDraws(skip=False):
        return model_class(config)


class _Mode(TorchDispatchMode):
    """A mode that is never active inside compiled code. Saying so, by torch's own switch, spares a new process the
    import of torch's compiler, which takes longer than loading 500 MB; drawing on the meta device would import it too.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


def _drawing_from(generator: torch.Generator, function: Any, args: Any, kwargs: Any) -> Any:
    """The operation, its random numbers from `generator`; on the meta device there are none to draw."""
    devices = [kwargs.get("device"), *(leaf.device for leaf in tree_leaves(args) if isinstance(leaf, Tensor))]
    if torch.Tag.nondeterministic_seeded in function.tags and torch.device("meta") not in devices:
        if not _takes_generator(function):
            function = getattr(function.overloadpacket, "generator", function)
        if _takes_generator(function):
            kwargs = {**kwargs, "generator": generator}
    return function(*args, **kwargs)


def _takes_generator(function: Any) -> bool:
    return any(argument.name == "generator" for argument in function._schema.arguments)


class _OwnDraws(_Mode):
    """Random numbers come from a generator of its own, seeded alike every time.

    With `skip`, tensors of LARGE elements or more are not filled; `skipped` are their addresses.
    """

    LARGE = 2**16

    def __init__(self, *, skip: bool) -> None:
        super().__init__()
        self.skip, self.generator = skip, torch.Generator().manual_seed(0)
        self.skipped: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.skip and function in DRAWS and args[0].numel() >= self.LARGE:
            self.skipped.add(args[0].untyped_storage().data_ptr())
            return args[0]
        return _drawing_from(self.generator, function, args, kwargs)


def _headers(directory: Path, described: dict[str, Any]) -> Iterator[Header]:
    for name in described["weights"]:
        with open_inside(directory, name) as file:
            yield read_header(file, str(directory / name))


class Limits(_Mode):
    """A config can declare more than its weights could ever fill: memory, or layers without end.

    The model is first built on the meta device inside `with limits`, which stops the construction at a tensor of more
    than four times the weights' bytes (float16 weights may fill a float64 model), or after more than fifty steps (an
    operation, or a module, parameter or buffer taken up) a tensor in the weights. Nothing is allocated meanwhile.
    """

    def __init__(self, directory: Path, described: dict[str, Any], headers: Iterable[Header] | None = None) -> None:
        """`described`: what read_config returned, which names the weights; or `headers`: those of the weights."""
        super().__init__()
        self.directory, self.thread = directory, threading.get_ident()
        self.present, tensors = 0, 0
        self.wide = False  # whether some of the weights are float64
        self.generator = torch.Generator().manual_seed(0)
        for entries in (header.tensors for header in headers or _headers(directory, described)):
            tensors += len(entries)
            self.wide |= any(entry.dtype == "float64" for entry in entries.values())
            self.present += sum(entry.end - entry.begin for entry in entries.values())
        self.bytes = 4 * self.present + SPARE_BYTES
        self.steps = 50 * tensors + SPARE_STEPS

    def __enter__(self) -> Limits:
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
        result = _drawing_from(self.generator, function, args, kwargs or {})
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

    def check_size(self, skeleton: nn.Module) -> None:
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
