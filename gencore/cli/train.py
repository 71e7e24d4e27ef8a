"""gencore train and gencore create."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gencore.cli.options import Quiet
from gencore.cli.show import say
from gencore.errors import GencoreError
from gencore.paths import user_path


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (train, create):
        app.command()(command)


def train(
    context: typer.Context,
    system: Annotated[str | None, typer.Argument(help="The system to train; none with --resume.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory.")] = None,
    data: Annotated[
        str | None, typer.Option(help="digits, mnist:DIRECTORY, a folder of images, or a .npy, .npz or .hdf5 file.")
    ] = None,
    second_data: Annotated[
        str | None, typer.Option(help="Data of a second domain, as --data; unpaired with the first.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Iterations of the first stage; later ones keep their share unless --set tells theirs."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples a batch, on each process.")] = None,
    set_: Annotated[list[str], typer.Option("--set", help="An argument of the recipe: name=value.")] = [],  # noqa: B006
    scale: Annotated[int | None, typer.Option(help="How many times the pictures are enlarged: --set scale=N.")] = None,
    init_from: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Begin with a trained model's weights (fine-tuning).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
    image_size: Annotated[int | None, typer.Option(help="Resize images to this many pixels a side.")] = None,
    skip_corrupt: Annotated[bool, typer.Option(help="Leave out images that cannot be read.")] = False,
    cache: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Decode a folder's images once, into this directory, and read them from it."),
    ] = None,
    data_range: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="What the stored numbers run through, such as 0,4095.")
    ] = None,
    condition: Annotated[
        str | None, typer.Option(help="The column of metadata to condition on, or none to leave labels out.")
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(help="Iterations between checkpoints.")] = 1000,
    sample_every: Annotated[
        int, typer.Option(help="Iterations between sample grids, beside those at 1, 10 and 100.")
    ] = 1000,
    log_every: Annotated[int, typer.Option(help="Iterations between lines of metrics.jsonl.")] = 50,
    evaluate_every: Annotated[
        int | None,
        typer.Option(
            help="Iterations between losses of the data's test part, each of which costs about 1.5; 0: never.",
            show_default="100 where the data have one",
        ),
    ] = None,
    keep: Annotated[int, typer.Option(help="Checkpoints to keep.")] = 2,
    accumulation: Annotated[int, typer.Option(help="Batches added up for one step.")] = 1,
    precision: Annotated[Literal["no", "bf16"], typer.Option(help="Mixed precision.")] = "no",
    compile: Annotated[bool, typer.Option(help="torch.compile the regions that allow it.")] = False,
    shard: Annotated[
        bool, typer.Option("--shard", help="Share the weights and all that goes with them out over the processes.")
    ] = False,
    tracker: Annotated[Literal["none", "tensorboard"], typer.Option(help="Further log.")] = "none",
    resume: Annotated[
        bool, typer.Option(help="Continue the run in --out, bit for bit; --steps may extend it.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a system, on one process or, under torchrun or accelerate launch, on many.

    SIGINT and SIGTERM end it with a checkpoint; `gencore train --resume --out RUN` continues it.
    """
    from gencore.training import run

    values: dict[str, Any] = dict(locals())
    if out is None:
        raise GencoreError("--out is missing: name a directory for the run, such as --out runs/mine.")
    out = user_path(out)
    if system is None and not resume:
        raise GencoreError("Name a system to train (gencore list shows them), or add --resume to continue a run.")
    if system is not None:
        from gencore.registry import default_registry

        default_registry().owner(system)
    given = _given(context, values)
    settings = run.load_settings(out).changed(given, out) if resume else run.RunSettings(**given)
    stopped = run.train(settings, out, resume=resume, quiet=quiet)
    if stopped:
        say(f"Stopped by {stopped}; a checkpoint was written. Continue with:\n  {run.resume_command(out)}", err=True)
        raise typer.Exit(130 if stopped == "SIGINT" else 143)
    if run.is_first_process():
        say(f"Trained. Try:\n  {run.next_command(settings, out)}", err=True)


def _given(context: typer.Context, values: dict[str, Any]) -> dict[str, Any]:
    """The run's settings that stand on the command line, by name, as RunSettings has them."""
    from gencore.training import settings

    given = {}
    for field in dataclasses.fields(settings.RunSettings):
        parameter = "set_" if field.name == "set" else field.name
        source = context.get_parameter_source(parameter)
        if source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP"):
            given[field.name] = values[parameter]
    if values["scale"] is not None:
        given["set"] = (*given.get("set", ()), f"scale={values['scale']}")
    if "set" in given:
        given["set"] = tuple(given["set"])
    readers = {
        "data": settings.lasting,
        "second_data": settings.lasting,
        "init_from": settings.lasting_model,
        "data_range": _pair,
        "cache": settings.lasting_path,
    }
    for name, read in readers.items():
        if name in given:
            given[name] = read(given[name])
    return given


def _pair(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise GencoreError(f"--data-range is {text!r}; expected LOW,HIGH, such as 0,4095.") from None
    return low, high


def create(
    system: Annotated[str, typer.Argument(help="A system.")],
    out: Annotated[Path, typer.Option(help="Directory for the model.")],
    set_: Annotated[list[str], typer.Option("--set", help="A field of the model's config: name=value.")] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Seed of the initial weights.")] = 0,
) -> None:
    """Write a new, untrained model as a model directory."""
    import torch

    import gencore
    from gencore.training.run import parse_overrides

    torch.manual_seed(seed)
    gencore.create(system, **parse_overrides(tuple(set_))).save_pretrained(user_path(out))
