"""The commands. Each imports what it needs when it runs, so that `list` stays free of torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gencore.cli import hub, latent, plan
from gencore.errors import GencoreError

app = typer.Typer(
    name="gencore",
    help="Generative modelling from one place: list, train, sample, publish.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A bundled name, a directory, or ORG/NAME[@REVISION].")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


def _print_rows(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], as_json: bool) -> None:
    rows = [list(row) for row in rows]
    if as_json:
        typer.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        import gencore

        typer.echo(gencore.__version__)
        raise typer.Exit


@app.command("list")
def list_command(
    pattern: Annotated[str, typer.Argument(help="Shell pattern on the names, such as '*gan'.")] = "*",
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    role: Annotated[str | None, typer.Option(help="Only systems with this role.")] = None,
    as_json: Json = False,
) -> None:
    """The systems: names, families, papers."""
    from gencore.registry import list_systems

    rows = [(s.name, s.family, s.summary, str(s.paper)) for s in list_systems(pattern, family=family, role=role)]
    _print_rows("Systems", ("system", "family", "summary", "paper"), rows, as_json)


@app.command()
def info(name: Annotated[str, typer.Argument(help="A system.")], as_json: Json = False) -> None:
    """One system: its paper, roles, and the arguments of its recipe."""
    import inspect
    import typing

    from gencore.registry import default_registry

    plugin, spec = default_registry().owner(name)
    recipe = default_registry().resolve(name, "recipe")
    parameters = inspect.signature(recipe).parameters.values()
    if as_json:
        described = dataclasses.asdict(spec) | {"distribution": plugin.distribution}
        described["arguments"] = {p.name: p.default for p in parameters}
        typer.echo(json.dumps(described, indent=1, default=str))
        return
    typer.echo(f"{spec.name}: {spec.summary}\n{spec.paper.title}\n{spec.paper}")
    typer.echo(f"family {spec.family}, from {plugin.distribution} {plugin.version}; roles: {', '.join(spec.roles)}")
    kinds = typing.get_type_hints(recipe)
    rows = [(p.name, inspect.formatannotation(kinds[p.name]), repr(p.default)) for p in parameters]
    _print_rows("Arguments of the recipe (--set name=value)", ("name", "type", "default"), rows, False)


@app.command()
def plugins(as_json: Json = False) -> None:
    """The installed plugins, and those that failed to load."""
    from gencore.registry import default_registry

    rows = [
        (
            p.name,
            f"{p.distribution} {p.version}",
            ", ".join(s.name for s in p.family.systems) if p.family else "",
            p.problem or "ok",
        )
        for p in default_registry().plugins
    ]
    _print_rows("Plugins", ("family", "distribution", "systems", "state"), rows, as_json)


@app.command()
def train(
    system: Annotated[str | None, typer.Argument(help="The system to train; none with --resume.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory.")] = None,
    data: Annotated[
        str | None, typer.Option(help="digits, mnist:DIRECTORY, a folder of images, or a .npy or .npz file.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Iterations (of the first stage).")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples a batch, on each process.")] = None,
    set_: Annotated[list[str], typer.Option("--set", help="An argument of the recipe: name=value.")] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
    image_size: Annotated[int | None, typer.Option(help="Resize images to this many pixels a side.")] = None,
    skip_corrupt: Annotated[bool, typer.Option(help="Leave out images that cannot be read.")] = False,
    checkpoint_every: Annotated[int, typer.Option(help="Iterations between checkpoints.")] = 1000,
    sample_every: Annotated[int, typer.Option(help="Iterations between sample grids.")] = 1000,
    log_every: Annotated[int, typer.Option(help="Iterations between lines of metrics.jsonl.")] = 50,
    keep: Annotated[int, typer.Option(help="Checkpoints to keep.")] = 2,
    accumulation: Annotated[int, typer.Option(help="Batches added up for one step.")] = 1,
    precision: Annotated[Literal["no", "bf16"], typer.Option(help="Mixed precision.")] = "no",
    compile: Annotated[bool, typer.Option(help="torch.compile the regions that allow it.")] = False,
    shard: Annotated[
        bool, typer.Option("--shard", help="Share the weights and all that goes with them out over the processes.")
    ] = False,
    tracker: Annotated[Literal["none", "tensorboard"], typer.Option(help="Further log.")] = "none",
    resume: Annotated[bool, typer.Option(help="Continue the run in --out, bit for bit.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a system, on one process or, under torchrun or accelerate launch, on many.

    SIGINT and SIGTERM end it with a checkpoint; `gencore train --resume --out RUN` continues it.
    """
    from gencore.training import run

    given: dict[str, Any] = dict(locals())
    if out is None:
        raise GencoreError("--out is missing: name a directory for the run, such as --out runs/mine.")
    if system is None:
        if not resume:
            raise GencoreError("Name a system to train (gencore list shows them), or add --resume to continue a run.")
        settings = run.load_settings(out)
    else:
        from gencore.registry import default_registry

        default_registry().owner(system)
        given["set"] = tuple(set_)
        names = [field.name for field in dataclasses.fields(run.RunSettings)]
        settings = run.RunSettings(**{name: given[name] for name in names})
    stopped = run.train(settings, out, resume=resume, quiet=quiet)
    if stopped:
        typer.echo(
            f"Stopped by {stopped}; a checkpoint was written. Continue with:\n  {run.resume_command(out)}", err=True
        )
        raise typer.Exit(130 if stopped == "SIGINT" else 143)
    if run.is_first_process():
        typer.echo(f"Trained. Try:\n  {run.next_command(settings, out)}", err=True)


@app.command()
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
    gencore.create(system, **parse_overrides(tuple(set_))).save_pretrained(out)


@app.command()
def sample(
    model: Model,
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 64,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png grid, or .npy for the numbers.")] = Path(
        "samples.png"
    ),
    seed: Annotated[int, typer.Option(help="Sample i depends on the seed and i alone.")] = 0,
    label: Annotated[int | None, typer.Option(help="The class, for a model that takes one.")] = None,
    batch_size: Annotated[int, typer.Option(help="Samples at a time.")] = 64,
    sampler: Annotated[str | None, typer.Option(help="One of the model's samplers, such as ddim or heun.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of a diffusion sampler.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="0 ignores the label, 1 obeys it, more exaggerates it.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Draw samples from a trained model into a picture."""
    import gencore
    from gencore.training.callbacks import SamplingBar
    from gencore.training.run import is_first_process

    loaded = gencore.from_pretrained(model)
    if label is not None and not getattr(loaded.config, "num_classes", None):
        raise GencoreError(f"--label is {label}, but {model} takes no labels.")
    options: dict[str, Any] = {
        name: value for name, value in (("steps", steps), ("guidance", guidance)) if value is not None
    }
    batches = -(-n // max(1, batch_size))
    with SamplingBar(batches=batches, quiet=quiet or not is_first_process()) as bar:
        samples = loaded.sample(
            n, seed=seed, condition=label, batch_size=batch_size, sampler=sampler, callback=bar, **options
        )
    _write(samples, output)


@app.command()
def reconstruct(
    model: Model,
    data: Annotated[str, typer.Option(help="As for gencore train.")] = "digits",
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 32,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png grid: originals and reconstructions.")] = Path(
        "reconstructions.png"
    ),
) -> None:
    """Encode images and generate them again; each original stands above its reconstruction."""
    import torch
    from einops import rearrange

    import gencore
    from gencore.data import open_source

    loaded: Any = gencore.from_pretrained(model)
    if not hasattr(loaded, "reconstruct"):
        raise GencoreError(f"{model} cannot reconstruct: it is no autoencoder ({type(loaded).__name__}).")
    shape = loaded.config.data_shape
    source = open_source(data, image_size=shape[-1], channels=shape[0], split="test")
    x = source.fetch(torch.arange(min(n, len(source))))["x"]
    with torch.no_grad():
        rebuilt = loaded.reconstruct(x)
    rows = torch.stack([x, rebuilt.clamp(-1, 1)])
    columns = min(8, len(x))
    whole = len(x) // columns * columns
    _write(rearrange(rows[:, :whole], "v (r c) ... -> (r v c) ...", c=columns), output, columns=columns)


@app.command()
def doctor(as_json: Json = False) -> None:
    """What is installed, which kernels run here and why, and what is missing."""
    from gencore.cli.doctor import report

    _print_rows("gencore doctor", ("what", "state"), report(), as_json)


def _write(samples: Any, output: Path, *, columns: int | None = None) -> None:
    """Samples to a .png grid or a .npy array."""
    import numpy as np

    if output.suffix == ".npy":
        import io

        from gencore_hub.atomic import atomic_write

        buffer = io.BytesIO()
        np.save(buffer, samples.cpu().numpy(), allow_pickle=False)
        atomic_write(output, buffer.getvalue())
    elif output.suffix == ".png":
        from gencore.data.images import save_grid

        save_grid(samples.clamp(-1, 1), output, columns=columns)
    else:
        raise GencoreError(f"--output is {output}; expected a name that ends in .png or .npy.")
    typer.echo(f"Wrote {len(samples)} to {output}.")


for module in (latent, hub, plan):
    module.register(app)
