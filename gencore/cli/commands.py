"""The command line put together. A command imports its module when it is named, and what it needs when it runs."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from gencore.cli.options import with_user_paths

MODULES = {
    "catalogue": ("list", "info", "plugins", "doctor"),
    "train": ("train", "create"),
    "apply": ("sample", "reconstruct", "classify"),
    "latent": ("walk", "map"),
    "inversion": ("invert", "anomaly"),
    "edit": ("edit",),
    "hub": ("push", "pull", "card", "index"),
    "plan": ("plan",),
    "translate": ("translate",),
    "convert": ("convert",),
    "words": ("neighbours", "analogy"),
    "voice": ("voice",),
    "runs": ("plot", "diagnose"),
    "evaluate": ("evaluate", "compare"),
    "codes": ("embed", "retrieve"),
    "judging": ("probe", "verify", "attack"),
    "labelling": ("augment", "select"),
    "export": ("export",),
    "inside": ("nearest", "codebook", "steps"),
    "explore": ("explore",),
}
"""Module of gencore.cli -> its commands, in the order of --help."""


def application(command: str = "") -> typer.Typer:
    """The command line; where `command` is one of its commands, no other module is imported."""
    app = typer.Typer(
        name="gencore",
        help="Generative modelling from one place: list, train, sample, publish.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        callback=_options,
    )
    holding = [module for module, commands in MODULES.items() if command in commands]
    for module in holding or MODULES:
        importlib.import_module(f"gencore.cli.{module}").register(app)
    for registered in app.registered_commands:
        assert registered.callback is not None
        registered.callback = with_user_paths(registered.callback)
    return app


def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        import gencore

        typer.echo(gencore.__version__)
        raise typer.Exit
