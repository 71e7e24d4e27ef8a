"""What strangers wrote (names of files and tensors, licences, errors of plugins) is text wherever it is shown."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

import gencore
from gencore import registry
from gencore.cli import show
from gencore.cli.app import app
from gencore.data import image_folder
from gencore.errors import GencoreError, PluginError, UnknownNameError
from gencore.testing.conformance import tiny_model
from gencore.training.progress import ProgressBar, SamplingBar
from gencore_hub import HubError, StorageError
from gencore_hub.card import Card, render_card
from gencore_hub.foreign import LONGEST, shown

EVIL = "[link=https://x.example]a[/link] [/nope] \x1b[2J\x1b]0;title\x07\u202e"


def is_text(text: str) -> bool:
    return all(sign.isprintable() or sign in "\n\t" for sign in text)


def test_signs_that_steer_a_terminal_are_spelled_out() -> None:
    assert shown("a\x1b[2J\r\u202e\x9b\tb\n") == "a\\x1b[2J\\r\\u202e\\x9b\tb\n"
    assert shown("a\nb\tc", line=True) == "a\\nb\\tc"
    assert shown(shown(EVIL)) == shown(EVIL)


@pytest.mark.parametrize("kind", [GencoreError, UnknownNameError, PluginError, HubError, StorageError])
def test_errors_show_names_as_text_and_are_short(kind: type[Exception]) -> None:
    """In Python's own traceback, too."""
    assert str(kind(f"no tensor {EVIL}")) == shown(f"no tensor {EVIL}")
    long = str(kind(f"{'x' * 4_000_000} is no name. Expected another."))
    assert len(long) < LONGEST
    assert "(4,000,030 characters in all)" in long
    assert long.endswith("is no name. Expected another.")


def test_tables_take_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show.print_rows(EVIL, ("name", "licence"), [(EVIL, EVIL)], as_json=False)
    printed = capsys.readouterr().out
    assert is_text(printed)
    assert re.sub(r"[\s│]", "", printed).count("[/nope]") == 3
    show.say(EVIL)
    assert capsys.readouterr().out == shown(EVIL) + "\n"
    assert show.warned(UserWarning(EVIL), UserWarning, "file.py", 1) == f"Warning: {shown(EVIL)}\n"


def test_a_tab_in_a_name_crops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show.print_rows("Models", ("name", "size"), [("a\tb[bold]end", "1\t2")], as_json=False)
    printed = capsys.readouterr().out
    assert "a\\tb[bold]end" in printed
    assert "1\\t2" in printed


def test_errors_of_plugins_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = registry.Plugin(name=EVIL, target=EVIL, distribution=EVIL, version="1", problem=f"ValueError: {EVIL}")
    broken = registry.Registry(list)
    broken.__dict__["plugins"] = (plugin,)
    monkeypatch.setattr(registry, "default_registry", lambda: broken)
    for words in (["plugins"], ["list"], ["info", "dcgan"]):
        result = CliRunner().invoke(app, words)
        assert is_text(result.output)
        assert result.exception is None or isinstance(result.exception, GencoreError), result.exception
        assert is_text(str(result.exception))
    (row,) = json.loads(CliRunner().invoke(app, ["plugins", "--json"]).output)
    assert row["state"] == f"ValueError: {EVIL}"


def test_bars_take_no_markup() -> None:
    screen = io.StringIO()
    trainer: Any = types.SimpleNamespace(
        accelerator=types.SimpleNamespace(is_main_process=True),
        recipe=types.SimpleNamespace(name=EVIL),
        stage=types.SimpleNamespace(name=EVIL),
        metrics={f"{EVIL}/loss": torch.tensor(1.0)},
        iteration=20,
        iterations=20,
    )
    bar = ProgressBar(quiet=False, seconds=0.0)
    bar.began = (time.monotonic() - 1, 0)
    for terminal in (False, True):
        bar.console = Console(file=screen, force_terminal=terminal, width=300, color_system=None)
        bar.after_step(trainer)
        bar.after_step(trainer)
    bar.stop()
    drawn = screen.getvalue()
    assert drawn.count("[/nope]") >= 4
    assert "\x1b[2J" not in drawn
    assert "\x1b]" not in drawn
    assert "\x07" not in drawn
    assert "\u202e" not in drawn
    with SamplingBar(batches=1, quiet=True) as sampling:
        sampling(1, 1)


def test_names_of_pictures_are_text(tmp_path: Path) -> None:
    for name in ("one\x1b[2J.png", "two\x1b[2J\nline.png"):
        (tmp_path / name).write_bytes(b"no picture")
    (tmp_path / "x.\x1b[31m").write_bytes(b"")
    with pytest.raises(GencoreError, match=r"one\\x1b\[2J\.png") as caught:
        image_folder(tmp_path)
    assert is_text(str(caught.value))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(GencoreError) as caught:
            image_folder(tmp_path, skip_corrupt=True)
    assert is_text("".join(str(warning.message) for warning in told) + str(caught.value))


def test_names_of_tensors_are_text(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    tiny_model("gan").save_pretrained(tmp_path)
    save_file({EVIL: torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"unexpected: .*\\x1b\[2J") as caught:
        gencore.from_pretrained(tmp_path)
    assert is_text(str(caught.value))


def test_a_card_holds_no_sign_that_steers_a_terminal() -> None:
    words = dict.fromkeys(("name", "system", "family", "summary", "license", "data", "command", "shell"), EVIL)
    text = render_card(Card(**words, limitations=(EVIL,), paper=EVIL))
    assert is_text(text)


def test_commands_print_through_one_function() -> None:
    """`say`, but for what holds no foreign text: the version."""
    folder = Path(show.__file__).parent
    raw = re.compile(r"typer\.echo\(|(?<![.\w])print\(")
    printing = {path.name for path in folder.glob("*.py") if raw.search(path.read_text())}
    assert printing == {"show.py", "commands.py"}


def test_the_terminal_sees_no_escape_of_a_name(tmp_path: Path) -> None:
    """Through the whole command line: an error about a file, and a licence in the index."""
    result = CliRunner().invoke(app, ["sample", f"./{EVIL}", "-n", "1"])
    assert isinstance(result.exception, ValueError)
    assert is_text(str(result.exception))


def test_every_path_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading and writing, and a suffix in capitals is a suffix."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["sample", "dcgan-mnist", "-n", "2", "-o", "~/x.PNG"], catch_exceptions=False)
    assert result.exit_code == 0
    assert (tmp_path / "x.PNG").is_file()
    assert not (tmp_path / "~").exists()


def test_every_command_goes_through_the_door_of_paths() -> None:
    from gencore.cli.options import with_user_paths

    assert all(hasattr(command.callback, "__wrapped__") for command in app.registered_commands)
    called = with_user_paths(lambda **options: options)
    home = Path("~").expanduser()
    options = called(a=Path("~/a"), b=[Path("~/b"), Path("c")], c="~/c", d=None)
    assert options == {"a": home / "a", "b": [home / "b", Path("c")], "c": "~/c", "d": None}


@pytest.mark.parametrize(
    "words",
    [
        ["sample", "dcgan-mnist"],
        ["reconstruct", "vae-mnist"],
        ["classify", "dcgan-mnist"],
        ["map", "vae-mnist"],
    ],
)
@pytest.mark.parametrize("n", ["0", "-1"])
def test_fewer_than_one_is_refused(words: list[str], n: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [*words, "-n", n])
    assert isinstance(result.exception, ValueError), result.output
    assert re.search(rf"\bn\b is {n}|limit is {n}", str(result.exception)), result.exception
    assert list(tmp_path.iterdir()) == []


def test_the_main_job_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    """Sampling from a bundled model: what a user waits for beyond torch."""
    code = (
        "import sys; import torch; before = set(sys.modules); from gencore.cli.app import app;"
        "app(['sample', 'dcgan-mnist', '-n', '2', '-o', sys.argv[1]], standalone_mode=False);"
        "print(' '.join(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()} | set(done.stdout.split())
    assert (tmp_path / "a.png").is_file()
    heavy = {"accelerate", "huggingface_hub", "torch.distributed.fsdp", "torch._inductor", "torch._dynamo", "sympy"}
    assert loaded & heavy == set()
    assert "gencore_vae.conv_vae" not in loaded
