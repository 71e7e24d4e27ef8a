"""`gencore explore`: models and runs in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

from gencore.cli.show import say


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(explore)


def explore(
    subjects: Annotated[
        list[str], typer.Argument(metavar="MODEL|RUN...", help="Bundled names, directories, ORG/NAME; runs, too.")
    ],
    host: Annotated[
        str, typer.Option(help="The address to listen on. Any but the loopback address asks browsers for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for a free one.")] = 8765,
) -> None:
    """Look at models and runs in the browser: samples, walks, maps, curves, each beside its command. Extra app.

    The server answers this machine alone unless --host says otherwise, and asks no other one for anything.
    """
    from gencore.extras import from_extra

    # by its name, since the explorer stands on the command line, not the command line on the explorer
    serving = from_extra("gencore.explorer.serving", "fastapi, jinja2, python-multipart and uvicorn", "app")
    serving.serve(subjects, host, port, say)
