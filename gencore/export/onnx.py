"""A graph as an ONNX file, held against the model: one that ONNX Runtime computes otherwise is not written."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gencore.errors import GencoreError
from gencore.export.graphs import EXAMPLES, Graph
from gencore.extras import from_extra
from gencore_hub.atomic import atomic_write
from gencore_kernels.dispatch import use_backend

TOLERANCE = 1e-4
"""Of the largest number that comes out, or of 1 if that is larger: float32, summed in another order."""
TRACED = 8
"""Examples with which the graph is traced; any number may go through it."""
CHECKS = ("aten._assert", "aten.sym_constrain", "aten._assert_scalar", "aten._assert_tensor_metadata")
"""Operations that only raise."""
BATCH = 100
"""Examples at a time in the comparison: 256 are two and a half batches, so that the batch's size is seen to be free."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The largest difference, as it is and beside the largest number of its batch (1 if that is smaller), the bar that
    the latter was held against, and milliseconds an example of both."""

    examples: int
    max_difference: float
    max_relative_difference: float
    tolerance: float
    milliseconds_onnxruntime: float
    milliseconds_pytorch: float


def export(graph: Graph, output: Path, *, described: Mapping[str, Any]) -> Agreement:
    """Write `output` (.onnx) and, beside it, a .json of the same name: inputs, agreement, versions, `described`.

    Raises GencoreError where torch cannot trace the model, or ONNX Runtime's output is another; nothing is written
    then. PluginError where the extra export is missing.
    """
    runtime = from_extra("onnxruntime", "onnxruntime", "export")
    from_extra("onnxscript", "onnxscript", "export")
    from_extra("onnx", "onnx", "export")
    data, opset = to_onnx(graph)
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    agreement = compare(graph, session)
    if not agreement.max_relative_difference <= agreement.tolerance:
        raise GencoreError(
            f"ONNX Runtime's {graph.output} differs by {agreement.max_relative_difference:.3g} from the model's "
            f"over {agreement.examples} seeds, more than {agreement.tolerance:.3g}: it is not written."
        )
    sheet = {
        **described,
        "part": graph.part,
        "inputs": {name: _described(value, name in graph.fixed) for name, value in graph.inputs.items()},
        "output": graph.output,
        "opset": opset,
        "agreement": dataclasses.asdict(agreement),
        "versions": {name: importlib.metadata.version(name) for name in ("gencore", "torch", "onnx", "onnxruntime")},
        **graph.told,
    }
    atomic_write(output, data)
    atomic_write(output.with_suffix(".json"), f"{json.dumps(sheet, indent=1)}\n".encode())
    return agreement


def to_onnx(graph: Graph) -> tuple[bytes, int]:
    """The file, and its opset. Raises GencoreError where torch cannot trace the model or ONNX lacks an operation."""
    inputs = tuple(value if name in graph.fixed else value[:TRACED] for name, value in graph.inputs.items())
    batch = torch.export.Dim("n", min=1, max=2**16)
    shapes = tuple(None if name in graph.fixed else {0: batch} for name in graph.inputs)
    try:
        with torch.no_grad(), use_backend("reference"), _quiet():
            program = _plain(_traced(graph.module, inputs, shapes))
            made = torch.onnx.export(
                program, (), dynamo=True, input_names=list(graph.inputs), output_names=[graph.output], verbose=False
            )
    except Exception as error:  # torch has no common class for them
        if isinstance(error, GencoreError):
            raise
        cause = str(error.__cause__ or error).strip().splitlines()
        raise GencoreError(
            f"This {graph.part} cannot be exported: {type(error).__name__}, {cause[0] if cause else 'no reason given'}"
        ) from error
    assert made is not None
    proto = made.model_proto
    return proto.SerializeToString(), next(entry.version for entry in proto.opset_import if not entry.domain)


def _traced(module: torch.nn.Module, inputs: tuple[Tensor, ...], shapes: Any) -> torch.export.ExportedProgram:
    """By its bytecode, else by running it, else with branches that depend on a value (a growing network's level) as
    they are for `inputs`: the comparison has to bear that out.

    Raises what torch raises for the first.
    """
    try:
        return torch.export.export(module, inputs, dynamic_shapes=shapes, strict=True)
    except Exception as error:  # torch has no common class for them
        for trace in (torch.export.export, torch.export.draft_export):
            with contextlib.suppress(Exception):
                return trace(module, inputs, dynamic_shapes=shapes, strict=False)
        raise error


def _plain(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Without the checks of values, which a graph cannot raise, and with our own operation of a codebook by torch's."""
    for node in list(program.graph.nodes):
        if str(node.target).startswith(CHECKS) and not node.users:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    own = torch.ops.gencore.nearest_code.default
    if any(node.target is own for node in program.graph.nodes):
        program = program.run_decompositions({own: _nearest_code})
        program.graph.eliminate_dead_code()
    return program


def _nearest_code(
    x: Tensor, codebook: Tensor, bias: Tensor | None, prepared: list[Tensor], precision: str, implementation: str
) -> tuple[Tensor, Tensor]:
    """(squared distance, index), (H, N) each, of x (H, N, D) and codebook (H, K, D): ||x||^2 - 2 x c + ||c||^2 in
    float64; the arguments of the operation that it stands for."""
    rows, codes = x.double(), codebook.double()
    distance = rows.square().sum(-1, keepdim=True) - 2 * rows @ codes.mT + codes.square().sum(-1)[:, None]
    objective = distance if bias is None else distance + bias.double()[:, None]
    index = objective.argmin(-1)
    return distance.gather(-1, index[..., None])[..., 0].float(), index


def compare(graph: Graph, session: Any) -> Agreement:
    """ONNX Runtime's output against `graph.ours`, for all examples; of a step at the first, middle and last row.

    The times are those of the fastest batch. Raises GencoreError where even shape or type are others.
    """
    worst, relative, whole = 0.0, 0.0, False
    times: tuple[list[float], list[float]] = ([], [])
    for given in _batches(graph):
        began = time.perf_counter()
        theirs = session.run(None, {name: value.numpy() for name, value in given.items()})[0]
        between = time.perf_counter()
        with torch.no_grad():
            ours = graph.ours(*given.values()).numpy()
        for taken, seconds in zip(times, (between - began, time.perf_counter() - between), strict=True):
            taken.append(1000 * seconds / len(ours))
        if theirs.shape != ours.shape or theirs.dtype != ours.dtype:
            raise GencoreError(
                f"ONNX Runtime's {graph.output} is {theirs.shape} {theirs.dtype}; the model's is {ours.shape} "
                f"{ours.dtype}: it is not written."
            )
        difference = float(np.abs(theirs.astype(np.float64) - ours.astype(np.float64)).max())
        difference = math.inf if math.isnan(difference) else difference
        worst, relative = max(worst, difference), max(relative, difference / max(1.0, float(np.abs(ours).max())))
        whole = ours.dtype.kind in "iu"
    return Agreement(
        examples=EXAMPLES,
        max_difference=worst,
        max_relative_difference=relative,
        tolerance=0.0 if whole else TOLERANCE,
        milliseconds_onnxruntime=round(min(times[0]), 4),
        milliseconds_pytorch=round(min(times[1]), 4),
    )


def _batches(graph: Graph) -> Iterator[dict[str, Tensor]]:
    """The inputs, batch by batch; of a step with each of those rows, and x of the spread that it has there."""
    rows = graph.told.get("rows")
    places = [0] if rows is None else sorted({0, len(rows) // 2, len(rows) - 1})
    for place in places:
        for first in range(0, EXAMPLES, BATCH):
            given = {
                name: value if name in graph.fixed else value[first : first + BATCH]
                for name, value in graph.inputs.items()
            }
            if rows is not None:
                share = graph.told["spread"][place] / graph.told["spread"][0]
                given |= {"row": torch.tensor(rows[place]), "x": given["x"] * share}
            yield given


def _described(value: Tensor, fixed: bool) -> dict[str, Any]:
    return {"shape": list(value.shape) if fixed else ["n", *value.shape[1:]], "dtype": str(value.dtype)[6:]}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the tracer says of itself; what goes wrong is raised."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stdout(nowhere):
                yield
    finally:
        logger.setLevel(before)
