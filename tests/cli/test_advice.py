"""What an error advises can be done with the command that was typed."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
import typer.main
from PIL import Image

from gencore.cli.__main__ import main
from gencore.cli.advice import fitted
from gencore.cli.app import app

COMMANDS = typer.main.get_group(app)
ROOT = Path(__file__).parents[2]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
OF_OTHER_PROGRAMS = {"--check", "--eval"}


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        ("train dcgan", "Leave it out with skip_corrupt=True (--skip-corrupt).", "Leave it out with --skip-corrupt."),
        (
            "reconstruct m",
            "Leave it out with skip_corrupt=True (--skip-corrupt).",
            "Leave it out with --skip-corrupt. --skip-corrupt is an option of gencore train.",
        ),
        ("train x", "Say data_range=(0, 15) (--data-range 0,15), or.", "Say --data-range 0,15, or."),
        ("pull a/b", "Or pass subfolder=...", "Or pass --subfolder"),
        ("sample a/b", "Or pass subfolder=...", "Or pass --subfolder --subfolder is an option of gencore pull."),
        ("sample a/b", "Use `gencore pull --subfolder`.", "Use `gencore pull --subfolder`."),
        ("sample a/b", "Pass shape=... or --frob.", "Pass shape=... or --frob."),
        ("sample -n 0", "n is 0; expected x=3.", "n is 0; expected x=3."),
    ],
)
def test_keywords_become_options_and_other_commands_are_named(words: str, text: str, expected: str) -> None:
    assert fitted(text, words.split(), COMMANDS) == expected


def test_every_option_that_a_text_names_is_there() -> None:
    """Of errors and docstrings, in the core and in all plugins."""
    known = {word for c in COMMANDS.commands.values() for p in c.params for word in (*p.opts, *p.secondary_opts)}
    known |= OF_OTHER_PROGRAMS | {"--debug", "--version", "--help"}
    for file in (*ROOT.glob("gencore/**/*.py"), *ROOT.glob("hub/*/**/*.py"), *ROOT.glob("plugins/*/*/**/*.py")):
        texts = [node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)]
        named = {option for text in texts if isinstance(text, str) for option in OPTION.findall(text)}
        assert named <= known, f"{file} names {sorted(named - known)}"


def test_a_damaged_picture_of_another_command_than_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only train has --skip-corrupt: `reconstruct` names it as train's."""
    import gencore

    gencore.create("vae", data_shape=(1, 8, 8), hidden=[4], latent_dim=2).save_pretrained(tmp_path / "m")
    (tmp_path / "d").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "d" / "a.png")
    (tmp_path / "d" / "b.png").write_bytes(b"\x89PNG")
    monkeypatch.setattr(sys, "argv", ["gencore", "reconstruct", f"{tmp_path}/m", "--data", f"{tmp_path}/d"])
    with pytest.raises(SystemExit):
        main()
    said = " ".join(capsys.readouterr().err.split())
    assert "b.png" in said
    assert "skip_corrupt" not in said
    assert "--skip-corrupt is an option of gencore train." in said
