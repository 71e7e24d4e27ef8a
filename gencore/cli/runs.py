"""What a run tells: gencore plot and gencore diagnose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gencore.cli.options import Json
from gencore.cli.show import print_rows, say
from gencore.errors import GencoreError
from gencore.paths import user_path


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (plot, diagnose):
        app.command()(command)


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
    say(f"Wrote {len(figure.axes)} curves of {len(read)} runs in {len(grouped(read))} colours to {output}.")


def diagnose(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory, also while it trains.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many samples and examples are looked at.")] = 200,
    as_json: Json = False,
) -> None:
    """Look for a dozen known failures in a run's log, weights and samples, and say what helps.

    Each is found, fine, or not judged, with the reason; what was measured and the bar stand beside it.
    """
    from gencore.diagnosis.evidence import Evidence
    from gencore.diagnosis.report import diagnose as judge_all

    if n < 20:
        raise GencoreError(f"-n is {n}; expected at least 20: fewer tell nothing.")
    verdicts = list(judge_all(Evidence(user_path(run), n=n)))
    print_rows(str(run), ("failure", "verdict", "measured"), [verdict[:3] for verdict in verdicts], as_json)
    if as_json:
        return
    found = [verdict for verdict in verdicts if verdict.verdict == "found"]
    judged = sum(verdict.verdict != "not judged" for verdict in verdicts)
    say(f"{len(found)} of {judged} failures that could be judged were found.")
    for verdict in found:
        say(f"  {verdict.name}: {verdict.advice}")
