"""gencore plan."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import typer

from gencore.errors import GencoreError


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(plan)


def plan(
    system: Annotated[str, typer.Argument(help="A system.")],
    gpus: Annotated[int, typer.Option(help="Processes, each with a GPU of its own.")] = 1,
    memory: Annotated[float, typer.Option(help="Of each GPU, in GB (10^9 bytes).")] = 80.0,
    set_: Annotated[list[str], typer.Option("--set", help="An argument of the recipe: name=value.")] = [],  # noqa: B006
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Also run one iteration on this CPU, to measure the objective's statistics."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """What a training needs: memory by kind, bytes exchanged in an iteration, and the largest model that fits.

    Activations are not counted: they depend on the batch size and on the network.
    """
    from gencore.api import recipe
    from gencore.cli.app import _print_rows
    from gencore.plan import largest_models, measure_statistics, sent_bytes
    from gencore.plan import plan as make_plan
    from gencore.training.run import parse_overrides

    if gpus < 1 or not memory > 0:
        raise GencoreError(f"--gpus is {gpus} and --memory {memory}; expected at least 1, and more than 0.")
    made = recipe(system, **parse_overrides(tuple(set_)))
    stages = make_plan(made)
    statistics = measure_statistics(made, _source(made)) if measure else None
    described: list[dict[str, Any]] = []
    for number, stage in enumerate(stages):
        described.append(dataclasses.asdict(stage))
        described[-1] |= {
            "memory_alone": stage.alone,
            "memory_data_parallel": stage.data_parallel,
            "sent": sent_bytes(stage.reduced, gpus),
            "statistics": None if statistics is None else statistics[number],
            "largest": largest_models(stage, processes=gpus, memory=memory * 1e9),
        }
    if as_json:
        typer.echo(json.dumps({"system": system, "gpus": gpus, "memory": memory, "stages": described}, indent=1))
        return
    for item in described:
        title = f"{system}, stage {item['stage']}: {item['parameters']:,} parameters"
        _print_rows(title, ("what, on each of the processes", "value"), _rows(item, gpus), False)
    fits = max(stage.data_parallel if gpus > 1 else stage.alone for stage in stages) <= memory * 1e9
    typer.echo(f"{'Fits' if fits else 'Does not fit'} {memory:g} GB, activations not counted.")


def _rows(item: dict[str, Any], gpus: int) -> list[tuple[str, str]]:
    several = [
        ("memory: DDP's buckets", _bytes(item["buckets"])),
        ("memory together", _bytes(item["memory_data_parallel"])),
        ("an iteration all-reduces gradients of", _bytes(item["reduced"])),
        (f"  so that each of {gpus} sends, in a ring", _bytes(item["sent"])),
    ]
    counts = item["statistics"]
    measured = "not measured: --measure" if counts is None else ", ".join(f"{k} {_bytes(n)}" for k, n in counts.items())
    return [
        ("memory: parameters and buffers", _bytes(item["weights"])),
        ("memory: gradients", _bytes(item["gradients"])),
        ("memory: optimizer state", _bytes(item["optimizers"])),
        ("memory: weight averages", _bytes(item["averages"])),
        *(several if gpus > 1 else [("memory together", _bytes(item["memory_alone"]))]),
        ("the objective's statistics", measured),
        *((f"largest model, {strategy}", f"{count:,} parameters") for strategy, count in item["largest"].items()),
    ]


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count:.0f} B"


def _source(recipe: Any) -> Any:
    from gencore.data import open_source

    shape = recipe.config.data_shape
    return open_source(recipe.data, image_size=shape[-1] if len(shape) == 3 else None)
