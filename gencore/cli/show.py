"""How the command line shows tables and foreign text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import typer

from gencore_hub.foreign import shown as shown


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text, whatever names stand in it."""
    typer.echo(shown(text), err=err, nl=nl)


def warned(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """A warning as the command line prints it: without the place in the code, and with names as text."""
    return f"Warning: {shown(str(message))}\n"


def print_rows(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], as_json: bool) -> None:
    """A table, or a JSON list of objects. Cells are shown as they are: nothing in them is markup."""
    rows = [list(row) for row in rows]
    if as_json:
        typer.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(shown(title, line=True)), title_justify="left")
    names = all(" " not in row[0] for row in rows)  # a name is not broken, a sentence is
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=names and place == 0)
    for row in rows:
        table.add_row(*(Text(shown(cell).replace("\t", "\\t")) for cell in row))  # a column's width counts a tab as one
    Console().print(table)
