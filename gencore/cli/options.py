"""Options that several commands share, and the one door through which paths come in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from gencore.errors import GencoreError
from gencore.paths import user_path

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A bundled name, a directory, or ORG/NAME[@REVISION].")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Data = Annotated[str, typer.Option(help="As for gencore train; its test part is taken.")]
Seed = Annotated[int, typer.Option(help="Seed of what is drawn.")]


def refuse(context: typer.Context, beside: str, *names: str) -> None:
    """Raise GencoreError where one of these parameters was typed, which have no meaning beside the option `beside`."""
    typed = [name for name in names if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    if typed:
        given = ", ".join(f"--{name}" for name in typed)
        raise GencoreError(f"{given} has no meaning beside {beside} here: leave it out.")


def with_user_paths(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with every path that it is given as a person means it: a leading ~ is expanded, which shells leave in
    --out=~/m."""

    @functools.wraps(command)
    def called(*arguments: Any, **options: Any) -> Any:
        return command(*arguments, **{name: _expanded(value) for name, value in options.items()})

    return called


def _expanded(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_expanded, value))
    return user_path(value) if isinstance(value, Path) else value
