"""gencore export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gencore.cli.options import Model
from gencore.cli.show import say
from gencore.errors import GencoreError
from gencore.paths import user_path


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("export")(export_command)


def export_command(
    model: Model,
    part: Annotated[
        Literal["generator", "encoder", "translator", "step"] | None,
        typer.Option(help="What becomes the graph; by default what the model is for."),
    ] = None,
    sampler: Annotated[str | None, typer.Option(help="Of a diffusion model: whose step, such as ddim.")] = None,
    steps: Annotated[int | None, typer.Option(help="Of that sampler.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .onnx file.")] = Path("model.onnx"),
) -> None:
    """Write a part of a trained model as an ONNX graph, for any number of examples at a time. Extra export.

    A .json of the same name says what goes in and comes out, the sampler's table, the largest difference between ONNX
    Runtime's output and the model's own over 256 seeds, and the time of both. A graph that differs is refused.
    """
    import gencore
    from gencore.export.graphs import graph_of
    from gencore.export.onnx import export

    output = user_path(output)
    if output.suffix.lower() != ".onnx":
        raise GencoreError(f"--output is {output}; expected a name that ends in .onnx.")
    loaded = gencore.from_pretrained(model)
    graph = graph_of(loaded, part=part, sampler=sampler, steps=steps)
    found = export(graph, output, described={"model": model, "system": loaded.system})
    say(
        f"Wrote the {graph.part} of {model} to {output}, and {output.with_suffix('.json').name} beside it.\n"
        f"Over {found.examples} seeds ONNX Runtime differs by {found.max_difference:.2g} at most "
        f"({found.max_relative_difference:.2g} relative). An example takes it {found.milliseconds_onnxruntime:.3g} ms, "
        f"PyTorch {found.milliseconds_pytorch:.3g} ms."
    )
