"""gencore plan."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import typer

from gencore.cli.show import print_rows, say
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
        typer.Option("--measure", help="Also run iterations on this CPU, alone and on two processes, to count bytes."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """What a training needs: memory by kind, bytes exchanged in an iteration, and the largest model that fits.

    Activations are not counted: they depend on the batch size and on the network.
    """
    from gencore.api import recipe
    from gencore.exchange import measure_sharded, measure_statistics, own_source
    from gencore.plan import largest_models, sent_bytes
    from gencore.plan import plan as make_plan
    from gencore.training.run import parse_overrides
    from gencore.training.sharding import obstacles

    if gpus < 1 or not memory > 0:
        raise GencoreError(f"--gpus is {gpus} and --memory {memory}; expected at least 1, and more than 0.")
    overrides = parse_overrides(tuple(set_))
    made = recipe(system, **overrides)
    stages, refused = make_plan(made), obstacles(made)
    statistics = measure_statistics(made, own_source(made)) if measure else None
    sharded = None
    if measure and not refused:
        try:
            sharded = measure_sharded(system, **overrides)
        except GencoreError as error:
            refused = [str(error)]
    described: list[dict[str, Any]] = []
    for number, stage in enumerate(stages):
        described.append(dataclasses.asdict(stage))
        described[-1] |= {
            "memory_alone": stage.alone,
            "memory_data_parallel": stage.data_parallel,
            "sent": sent_bytes(stage.reduced, gpus),
            "memory_fully_sharded": None if refused else stage.fully_sharded(gpus),
            "statistics": None if statistics is None else statistics[number],
            "sharded_exchange": None if sharded is None else sharded[number],
            "sharding_refused": refused,
            "largest": largest_models(stage, processes=gpus, memory=memory * 1e9),
        }
        if refused:
            described[-1]["largest"].pop("fully sharded", None)
    if as_json:
        say(json.dumps({"system": system, "gpus": gpus, "memory": memory, "stages": described}, indent=1))
        return
    for item in described:
        title = f"{system}, stage {item['stage']}: {item['parameters']:,} parameters"
        print_rows(title, ("what, on each of the processes", "value"), _rows(item, gpus), False)
    say(f"Memory of {memory:g} GB a process, activations not counted:")
    for strategy, bytes_needed in _needs(described, gpus):
        say(f"  {strategy}: {'fits' if bytes_needed <= memory * 1e9 else 'does not fit'}")
    if gpus > 1 and refused:
        say(f"  fully sharded: refused, since {'; '.join(refused)}")


def _needs(described: list[dict[str, Any]], gpus: int) -> list[tuple[str, float]]:
    """The strategies on so many processes, and the memory that each needs in its hungriest stage."""
    keys = {"data parallel": "memory_data_parallel", "fully sharded": "memory_fully_sharded"}
    chosen = keys if gpus > 1 else {"one process": "memory_alone"}
    needs = [(strategy, [item[key] for item in described]) for strategy, key in chosen.items()]
    return [(strategy, max(values)) for strategy, values in needs if None not in values]


def _rows(item: dict[str, Any], gpus: int) -> list[tuple[str, str]]:
    sharded = item["memory_fully_sharded"]
    several = [
        ("memory: DDP's buckets", _bytes(item["buckets"])),
        ("memory together, data parallel", _bytes(item["memory_data_parallel"])),
        ("memory together, fully sharded", "refused" if sharded is None else _bytes(sharded)),
        ("data parallel, an iteration all-reduces gradients of", _bytes(item["reduced"])),
        (f"  so that each of {gpus} sends, in a ring", _bytes(item["sent"])),
        ("fully sharded, an iteration exchanges", _counts(item["sharded_exchange"])),
    ]
    return [
        ("memory: parameters and buffers", _bytes(item["weights"])),
        ("memory: gradients", _bytes(item["gradients"])),
        ("memory: optimizer state", _bytes(item["optimizers"])),
        ("memory: weight averages", _bytes(item["averages"])),
        *(several if gpus > 1 else [("memory together", _bytes(item["memory_alone"]))]),
        ("the objective's statistics", _counts(item["statistics"])),
        *((f"largest model, {strategy}", f"{count:,} parameters") for strategy, count in item["largest"].items()),
    ]


def _counts(counts: dict[str, int] | None) -> str:
    return "not measured: --measure" if counts is None else ", ".join(f"{k} {_bytes(n)}" for k, n in counts.items())


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count:.0f} B"
