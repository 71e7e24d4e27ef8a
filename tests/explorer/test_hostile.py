"""What is dropped or typed by somebody who means no good, or is unlucky: a clear sentence, and nothing else happens."""

from __future__ import annotations

import io
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from PIL import Image

from gencore.errors import GencoreError
from gencore.explorer import commands
from gencore.explorer.commands import Command, File, Kept, Output
from gencore.explorer.fields import Field, Upload, harmless_name, uploads_of, words_of
from tests.explorer.conftest import Explorer, typed

pytestmark = pytest.mark.xdist_group("explorer")  # its tests share what they look at


def png(width: int, height: int) -> bytes:
    """A PNG's head of any size, with hardly any pixels behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def real_png() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((40, 40), 90).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<svg onload=alert(1)>", "no known kind"),
        (b"PK\x03\x04" + b"\0" * 50, "no known kind"),
        (real_png()[:300], "cannot be read as an image"),
        (png(100_000, 100_000), "cannot be read as an image"),
        (png(0, 0), "cannot be read as an image"),
    ],
    ids=["empty", "markup", "zip", "truncated", "bomb", "nothing"],
)
@pytest.mark.parametrize(("system", "view"), [("vae", "edit"), ("esrgan", "translate"), ("vae", "retrieve")])
def test_files_that_are_no_pictures(explorer: Explorer, system: str, view: str, content: bytes, message: str) -> None:
    form = {"steps": "1", "data": "digits"} if view != "translate" else {}
    said = explorer.refused(system, view, form, {"picture": ("evil.png", content)})
    assert message in said
    assert "evil.png" in said
    assert "gencore-explore-" not in said, "the name that the user knows, not that of a scratch folder"


def test_a_missing_picture(explorer: Explorer) -> None:
    assert "Picture is missing" in explorer.refused("vae", "edit", {"steps": "1"}, {})


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\me.png", "me.png"),
        ("--output=x.png", "output_x.png"),
        (".bashrc", "bashrc"),
        ("a b'\"$(rm).png", "a_b_rm_.png"),
        ("\0\n.png", "png"),
        ("...", "picture.png"),
        ("\u65e5\u672c.png", "png"),
    ],
)
def test_names_are_made_harmless(name: str, harmless: str) -> None:
    assert harmless_name(name) == harmless


def test_a_name_leads_nowhere(explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command beside the result names a file in the current folder, and quotes what is typed."""
    monkeypatch.chdir(tmp_path)
    files = {"picture": ("../../x;touch y.png", real_png())}
    answer = explorer.client.post(
        f"{explorer.address('vae', 'edit')}/result", data={"steps": "0", "along": "0"}, files=files
    )
    assert "edit" in answer.text
    assert " x_touch_y.png " in answer.text
    assert list(tmp_path.iterdir()) == []


def test_typed_words_stay_values(explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks like an option is the value of its own field; the shell sees it quoted, the page as text."""
    monkeypatch.chdir(tmp_path)
    said = explorer.refused("vae", "map", {"data": "--output=/tmp/x.png", "n": "20"}, {})
    assert "no data" in said
    assert "--output=/tmp/x.png" in said
    made = explorer.fill("rnn-language-model", "sample", {"n": "1", "prompt": "the"})
    assert "--prompt the" in made.command
    page = explorer.client.post(
        f"{explorer.address('vae', 'map')}/result", data={"data": "<img src=x onerror=alert(1)>", "n": "20"}
    ).text
    assert "<img src=x" not in page
    assert "&lt;img" in page


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"n": "x"}, "expected a number"),
        ({"n": "nan"}, "expected a whole number"),
        ({"n": "100000"}, "expected 1 to 400"),
        ({"n": "1.5"}, "expected a whole number"),
        ({"seed": "-1"}, "Seed is -1"),
        ({"output": "../x.png"}, "The output is"),
        ({"beside": "77"}, "There is no model 78"),
    ],
)
def test_values_out_of_range(explorer: Explorer, form: dict, message: str) -> None:
    assert message in explorer.refused("dcgan", "sample", {"n": "2"} | form, {})


@pytest.mark.parametrize("path", ["/99/sample", "/0/none", "/output/" + "0" * 64 + "/x.png", "/static/../server.py"])
def test_addresses_that_lead_nowhere(explorer: Explorer, path: str) -> None:
    answer = explorer.client.get(path)
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


def test_a_failure_inside_is_said_too(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(words: list[str], prefix: str) -> str:
        raise RuntimeError("of its own")

    monkeypatch.setattr(commands, "_run", broken)
    answer = explorer.client.post(f"{explorer.address('dcgan', 'sample')}/result", data={"n": "1"})
    assert answer.status_code == 500
    assert "RuntimeError: of its own" in answer.text


def test_words_of_a_form() -> None:
    fields = (
        Field(name="a", label="A", option="--a"),
        Field(name="b", label="B", control="text"),
        Field(name="c", label="C", option="--c", control="flag"),
    )
    assert words_of(fields, {"a": "-1", "b": "word", "c": "on"}) == ["word", "--a=-1", "--c"]
    assert words_of(fields, {"a": "", "b": "", "c": ""}) == []
    with pytest.raises(GencoreError, match="one of"):
        words_of((Field(name="d", label="D", control="choice", choices=(("x", "X"),)),), {"d": "y"})
    twice = {"a": Upload(name="x.png", content=b"1"), "b": Upload(name="x.png", content=b"2")}
    with pytest.raises(GencoreError, match="rename one"):
        uploads_of(twice)


def test_a_command_is_quoted_for_the_shell() -> None:
    command = Command(words=("sample", "a b; rm -rf ~", "-o", File("x.png")))
    assert command.text == "gencore sample 'a b; rm -rf ~' -o x.png"


@pytest.mark.parametrize("name", ["a\x15; touch x\n", "it's \x1b[2J", "back\\slash\x03", "\u202egnp", "caf\u00e9"])
def test_a_command_holds_no_sign_that_steers_a_terminal(name: str) -> None:
    """What a class of a stranger's model may be called reaches bash as it is, and the terminal as text."""
    text = Command(words=("sample", "--label", name)).text
    assert text.isprintable()
    echoed = subprocess.run(["bash", "-c", text.replace("gencore", "printf '%s|'", 1)], capture_output=True, check=True)
    assert echoed.stdout.decode() == f"sample|--label|{name}|"


def test_what_is_kept_is_bounded() -> None:
    kept = Kept(limit=25)
    keys = [kept.keep(Output(said="", content=bytes([k]) * 10, name="x")) for k in range(4)]
    assert kept.get(keys[3]).content == b"\3" * 10
    assert kept.get(keys[2]).content == b"\2" * 10
    with pytest.raises(GencoreError, match="make it again"):
        kept.get(keys[0])
    again = kept.keep(Output(said="", content=b"\2" * 10, name="x"))
    assert again == keys[2]
    assert kept.get(keys[3]), "what is kept twice counts once"


def test_commands_say_what_the_command_line_says() -> None:
    with pytest.raises(GencoreError, match="expected at least 1"):
        commands.run(Command(words=("reconstruct", "vae-mnist", "-n", "0")))
    with pytest.raises(GencoreError, match="No such option"):
        commands.run(Command(words=("sample", "dcgan-mnist", "--no-such-option")))
    with pytest.raises(ValueError, match="expected at least 1"):
        typed("gencore reconstruct vae-mnist -n 0")
