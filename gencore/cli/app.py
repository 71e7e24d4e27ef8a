"""The command line put together. Each command imports what it needs when it runs: `list` stays free of torch."""

from __future__ import annotations

from typing import Annotated

import typer

from gencore.cli import (
    apply,
    catalogue,
    codes,
    convert,
    edit,
    evaluate,
    explore,
    export,
    hub,
    inside,
    inversion,
    judging,
    labelling,
    latent,
    plan,
    runs,
    train,
    translate,
    voice,
    words,
)
from gencore.cli.options import with_user_paths

app = typer.Typer(
    name="gencore",
    help="Generative modelling from one place: list, train, sample, publish.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        import gencore

        typer.echo(gencore.__version__)
        raise typer.Exit


for module in (
    catalogue,
    train,
    apply,
    latent,
    inversion,
    edit,
    hub,
    plan,
    translate,
    convert,
    words,
    voice,
    runs,
    evaluate,
    codes,
    judging,
    labelling,
    export,
    inside,
    explore,
):
    module.register(app)
for command in app.registered_commands:
    assert command.callback is not None
    command.callback = with_user_paths(command.callback)
