"""gencore.cli.commands: a command is found without importing the others."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from gencore.cli.commands import MODULES, application


def commands(app: typer.Typer) -> dict[str, str]:
    """Command -> the module that it is in."""
    return {name: command.callback.__module__ for name, command in typer.main.get_group(app).commands.items()}


def test_the_table_names_every_command_of_every_module() -> None:
    expected = {name: f"gencore.cli.{module}" for module, names in MODULES.items() for name in names}
    assert list(commands(application()).items()) == list(expected.items())


@pytest.mark.parametrize("word", ["--help", "", "smaple"])
def test_a_word_that_is_no_command_gets_the_whole(word: str) -> None:
    assert commands(application(word)) == commands(application())


def test_one_command_imports_its_module_alone() -> None:
    code = (
        "import sys; from gencore.cli.commands import MODULES, application; application('sample'); "
        "print(*sorted(m for m in MODULES if f'gencore.cli.{m}' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["apply"]
