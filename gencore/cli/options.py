"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A bundled name, a directory, or ORG/NAME[@REVISION].")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Data = Annotated[str, typer.Option(help="As for gencore train; its test part is taken.")]
Seed = Annotated[int, typer.Option(help="Seed of what is drawn.")]
