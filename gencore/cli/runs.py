"""What a run tells: gencore plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gencore.errors import GencoreError
from gencore.paths import user_path


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(plot)


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.")],
    metric: Annotated[list[str], typer.Option(help="A metric to draw, such as critic/loss; all by default.")] = [],  # noqa: B006
    smooth: Annotated[int, typer.Option(help="Draw the mean over so many lines of the log.")] = 1,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png picture.")] = Path("curves.png"),
) -> None:
    """Draw the curves of one or several runs, also while they train; runs that differ in the seed alone are one curve
    with a band from the lowest to the highest. Extra plot."""
    from gencore.diagnosis.curves import as_png, draw_curves, grouped, read_run
    from gencore_hub.atomic import atomic_write

    output = user_path(output)
    if output.suffix.lower() != ".png":
        raise GencoreError(f"--output is {output}; expected a name that ends in .png.")
    read = [read_run(user_path(folder)) for folder in runs]
    figure = draw_curves(read, metrics=metric, smooth=smooth)
    atomic_write(output, as_png(figure))
    typer.echo(f"Wrote {len(figure.axes)} curves of {len(read)} runs in {len(grouped(read))} colours to {output}.")
