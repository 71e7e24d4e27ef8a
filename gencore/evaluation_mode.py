"""A model as it computes in evaluation mode, while the model itself stays as it is: other threads may train it."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from gencore.compilation import CompiledCall

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def evaluating(module: ModuleT) -> ModuleT:
    """`module` itself where all of it is in evaluation mode, else a twin that is, with the same parameters and buffers.

    The twin shares every tensor and attribute at the time of the call; it costs microseconds a submodule, and no
    memory. Modules that are kept otherwise than as submodules (in a plain list, say) stay as they are.
    """
    if not any(part.training for part in module.modules()):
        return module
    return _twin(module, {})


def _twin(module: ModuleT, made: dict[nn.Module, nn.Module]) -> ModuleT:
    if module in made:  # a part that stands in two places
        return made[module]  # type: ignore[return-value]
    twin = object.__new__(type(module))
    made[module] = twin
    state = dict(vars(module))
    call = state.pop("_compiled_call_impl", None)
    children = {name: None if child is None else _twin(child, made) for name, child in module._modules.items()}
    twin.__dict__.update(state, _modules=children, training=False)
    if isinstance(call, CompiledCall):
        twin.__dict__["_compiled_call_impl"] = CompiledCall(twin, call.backend)
    return twin
