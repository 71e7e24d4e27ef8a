"""What of a model becomes a graph, with its pre- and post-processing inside: pictures go in and come out as numbers in
[0, 1], (N, C, H, W) float32.

part         inputs                      output
generator    z, and a condition          image (or data, as they are)
encoder      image (or data)             code: the mean where it is a distribution
translator   image                       image
step         x, row, noise, a condition  next: one step of a sampler, `row` from its table
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gencore.conditions import Condition, Image
from gencore.errors import GencoreError
from gencore.noise import Noise

Part = Literal["generator", "encoder", "translator", "step"]
PARTS: tuple[Part, ...] = ("translator", "step", "generator", "encoder")
"""In the order in which they are thought of, where none is named."""
EXAMPLES = 256
"""On which a graph is held against the model."""


class Graph(NamedTuple):
    """`module(*inputs)` is what is exported; `ours(*inputs)` what the model computes itself."""

    part: Part
    module: nn.Module
    inputs: dict[str, Tensor]
    output: str
    ours: Callable[..., Tensor]
    fixed: tuple[str, ...] = ()
    """Inputs without a batch axis."""
    told: Mapping[str, Any] = {}
    """What a user of the graph must know beside it."""


class _Call(nn.Module):
    """A method of a model with its pictures in [0, 1]."""

    def __init__(self, model: nn.Module, method: str, *, pictured: tuple[bool, ...], made: bool) -> None:
        super().__init__()
        self.model, self.method, self.pictured, self.made = model, method, pictured, made

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """x (N, ...), and the condition where the model takes one."""
        x = 2 * x - 1 if self.pictured[0] else x
        options = {}
        if condition is not None:
            options["condition"] = 2 * condition - 1 if self.pictured[1] else condition
        made = getattr(self.model, self.method)(x, **options)
        made = made if isinstance(made, Tensor) else made.mean
        return ((made + 1) / 2).clamp(0, 1) if self.made else made


def graph_of(model: Any, *, part: Part | None = None, sampler: str | None = None, steps: int | None = None) -> Graph:
    """The graph of a model in evaluation mode, with `EXAMPLES` examples of its inputs, each of a seed of its own.

    Raises GencoreError for a part that the model does not have, and for options that the part does not take.
    """
    has = {
        "translator": hasattr(model, "translate"),
        "step": hasattr(model, "step_graph"),
        "generator": hasattr(model, "generate"),
        "encoder": hasattr(model, "encode"),
    }
    chosen = part or next((name for name in PARTS if has[name]), None)
    if chosen is None or not has[chosen]:
        there = ", ".join(name for name in PARTS if has[name]) or "none"
        raise GencoreError(f"{type(model).__name__} has no {chosen or 'part'} to export; it has: {there}.")
    if chosen != "step" and (sampler is not None or steps is not None):
        raise GencoreError(f"A sampler and its steps belong to the part step; {chosen} takes none.")
    noise = Noise(0, 0, EXAMPLES)
    if chosen == "step":
        return _step(model, noise, sampler, steps)
    if chosen == "generator":
        return _generator(model, noise)
    return _reader(model, noise, chosen)


def _generator(model: Any, noise: Noise) -> Graph:
    """Codes of the prior, or of random data where there is none."""
    made = _is_picture(model)
    try:
        z = model.draw_prior(noise)
    except GencoreError:
        if not hasattr(model, "encode"):
            raise
        with torch.no_grad():
            code = model.encode(2 * noise.uniform(*model.config.data_shape) - 1)
        z = code if isinstance(code, Tensor) else code.mean
    inputs, pictured = _with_condition({"z": z}, model.condition, noise)
    module = _Call(model, "generate", pictured=(False, pictured), made=made).eval()
    return Graph("generator", module, inputs, "image" if made else "data", module)


def _reader(model: Any, noise: Noise, part: Part) -> Graph:
    """The encoder or the translator, which read a picture."""
    kind, config = model.condition, model.config
    if part == "translator" and isinstance(kind, Image):
        shape, kind = kind.shape, None
    else:
        shape = getattr(config, "input_shape", None) or config.data_shape
    if not all(shape):
        raise GencoreError(f"{type(model).__name__} takes pictures of any size {tuple(shape)}: its graph has none.")
    picture = len(shape) == 3
    x = noise.uniform(*shape) if picture else noise.normal(*shape)
    inputs, pictured = _with_condition({"image" if picture else "data": x}, kind, noise)
    made = part == "translator" and picture
    method = "translate" if part == "translator" else "encode"
    module = _Call(model, method, pictured=(picture, pictured), made=made).eval()
    return Graph(part, module, inputs, "translated" if part == "translator" else "code", module)


def _step(model: Any, noise: Noise, sampler: str | None, steps: int | None) -> Graph:
    """One step of the sampler: the model says how (`step_graph`)."""
    chosen = model.choose_sampler(sampler, {} if steps is None else {"steps": steps})
    module, ours, told = model.step_graph(chosen)
    shape, rows = model.config.data_shape, torch.tensor(told["rows"], dtype=torch.float32)
    inputs = {"x": told["spread"][0] * noise.normal(*shape), "row": rows[0], "noise": noise.normal(*shape)}
    inputs, _ = _with_condition(inputs, model.condition, noise)
    return Graph("step", module.eval(), inputs, "next", ours, fixed=("row",), told=told)


def _with_condition(inputs: dict[str, Tensor], kind: Condition | None, noise: Noise) -> tuple[dict[str, Tensor], bool]:
    """The inputs with a condition of that kind, and whether it is a picture."""
    if kind is None:
        return inputs, False
    if isinstance(kind, Image):
        return {**inputs, "picture": noise.uniform(*kind.shape)}, True
    return {**inputs, kind.key: kind.draw(noise)}, False


def _is_picture(model: Any) -> bool:
    return len(model.config.data_shape) == 3
