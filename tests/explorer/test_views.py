"""Every view of every kind of model: the command beside it, typed into a shell, writes the same bytes."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.explorer.conftest import Explorer, typed

pytestmark = pytest.mark.xdist_group("explorer")  # its tests share what they look at

CASES = [
    ("dcgan", "sample", {"n": "4", "seed": "3"}, {"seed": "4"}),
    ("biggan", "sample", {"n": "3", "truncation": "0.5", "label": "7"}, {"truncation": "2"}),
    ("ddpm", "sample", {"n": "2", "steps": "2", "label": "3", "guidance": "1.5"}, {"seed": "3"}),
    ("vq-vae", "sample", {"n": "2", "seed": "1"}, {"seed": "2"}),
    ("3d-gan", "sample", {"n": "2", "seed": "1"}, {"seed": "2"}),
    ("wavenet", "sample", {"n": "1", "seed": "0"}, {"seed": "1"}),
    ("c-rnn-gan", "sample", {"n": "1", "seed": "0"}, {"seed": "1"}),
    ("rnn-language-model", "sample", {"n": "2", "temperature": "0.9"}, {"seed": "1"}),
    ("dcgan", "walk", {"rows": "2", "steps": "3", "path": "slerp"}, {"path": "lerp"}),
    ("vae", "walk", {"rows": "2", "steps": "3", "output": "walk.gif"}, {"seed": "5"}),
    ("dcgan", "along", {"along": "5", "steps": "4"}, {"along": "6"}),
    ("biggan", "walk", {"rows": "2", "steps": "3", "label": "7"}, {"label": ""}),
    ("biggan", "classes", {"rows": "2", "classes": "7,1"}, {"classes": "1,7"}),
    ("vae", "classes", {"rows": "2", "steps": "3"}, {"classes": "3,7"}),
    ("deep-autoencoder", "plane", {"steps": "3"}, {"steps": "4"}),
    ("vae", "reconstruct", {"n": "3"}, {"n": "4"}),
    ("vq-vae", "reconstruct", {"n": "3"}, {"n": "4"}),
    ("vae", "map", {"n": "40"}, {"n": "41"}),
    ("deep-autoencoder", "map", {"n": "40", "method": "code", "pictures": "on"}, {"pictures": ""}),
    ("ddpm", "steps", {"n": "1", "steps": "3", "label": "3"}, {"seed": "1"}),
    ("vq-vae", "codebook", {"data": "digits"}, None),
    ("dcgan", "nearest", {"n": "2", "k": "2"}, {"k": "3"}),
    ("run", "curves", {"smooth": "2"}, {"smooth": "1"}),
    ("run", "sample", {"n": "2"}, {"n": "3"}),
]
DROPPED = [
    ("vae", "edit", {"steps": "2", "along": "1"}, {"along": "2"}),
    ("vae", "edit", {"steps": "2", "plus": "3", "minus": "8"}, {"minus": ""}),
    ("dcgan", "edit", {"steps": "2", "along": "1"}, {"along": "2"}),
    ("esrgan", "translate", {}, None),
    ("vae", "retrieve", {"k": "3"}, {"metric": "cosine", "k": "4"}),
]
SPOKEN = [("word2vec", "neighbours", {"word": "cat"}), ("word2vec", "analogy", {"a": "the", "b": "cat", "c": "mat"})]


def form_of(explorer: Explorer, system: str, view: str) -> dict[str, str]:
    """What a browser would send of the form as it is at first."""
    page = explorer.client.get(explorer.address(system, view))
    assert page.status_code == 200, page.text
    values = dict(
        re.findall(r'<input type="(?:text|number|range)" id="field-\S+" name="(\S+)" value="(.*?)"', page.text)
    )
    for name, choices in re.findall(r'<select id="field-\S+" name="(\S+)".*?>(.*?)</select>', page.text, re.DOTALL):
        first = re.search(r'value="(\S*)" selected', choices) or re.search(r'<option value="(.*?)"', choices)
        values[name] = first[1] if first else ""
    return values


@pytest.mark.parametrize(("system", "view", "form", "other"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_the_command_writes_the_same_bytes(
    explorer: Explorer,
    system: str,
    view: str,
    form: dict,
    other: dict | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    values = form_of(explorer, system, view) | form
    made = explorer.fill(system, view, values)
    said = typed(made.command)
    assert (tmp_path / made.name).read_bytes() == made.content
    assert said.strip().splitlines()[0] in made.page
    if other is not None:
        assert explorer.fill(system, view, values | other).content != made.content, "the control does something"


@pytest.mark.parametrize(("system", "view", "form", "other"), DROPPED, ids=lambda v: v if isinstance(v, str) else "")
def test_so_does_that_of_a_dropped_picture(
    explorer: Explorer,
    digit: Path,
    system: str,
    view: str,
    form: dict,
    other: dict | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    values = form_of(explorer, system, view) | form
    made = explorer.fill(system, view, values, {"picture": digit})
    assert " my_digit.png " in made.command, "a name that needs no quotes"
    shutil.copy(digit, tmp_path / "my_digit.png")
    typed(made.command)
    assert (tmp_path / made.name).read_bytes() == made.content
    with Image.open(io.BytesIO(made.content)) as image:
        assert len(image.convert("L").getcolors()) > 10, "a picture of something"
    if other is not None:
        assert explorer.fill(system, view, values | other, {"picture": digit}).content != made.content


@pytest.mark.parametrize(("system", "view", "form"), SPOKEN, ids=lambda v: v if isinstance(v, str) else "")
def test_what_only_speaks_says_the_same(explorer: Explorer, system: str, view: str, form: dict) -> None:
    made = explorer.fill(system, view, form | {"n": "2"})
    assert typed(made.command).split()[-2:] == re.sub("<.*?>", " ", made.page).split()[-2:]


def test_audio_plays_and_text_shows(explorer: Explorer) -> None:
    assert "<audio controls" in explorer.fill("wavenet", "sample", {"n": "1"}).page
    text = explorer.fill("rnn-language-model", "sample", {"n": "2"})
    assert text.content.decode().strip() in text.page


def test_views_follow_what_a_model_can_do(explorer: Explorer) -> None:
    def views(system: str) -> list[str]:
        page = explorer.client.get(explorer.address(system, "sample" if system != "word2vec" else "neighbours")).text
        return re.findall(rf'href="/{explorer.number(system)}/(\S+?)"', page.split("</header>")[1])

    assert views("dcgan") == ["sample", "walk", "along", "edit", "nearest"]
    with_codes = ["reconstruct", "edit", "map", "retrieve", "nearest"]
    assert views("vae") == ["sample", "walk", "along", "classes", *with_codes]
    assert views("vq-vae") == ["sample", "reconstruct", "codebook", "nearest"], "between whole numbers nobody walks"
    assert views("ddpm") == ["sample", "steps", "nearest"]
    assert views("word2vec") == ["neighbours", "analogy"]
    assert views("run")[-2:] == ["curves", "diagnosis"]
    assert explorer.client.get(explorer.address("ddpm", "walk")).status_code == 404


def test_two_models_side_by_side(explorer: Explorer) -> None:
    number = str(explorer.number("vae"))
    page = explorer.fill("dcgan", "sample", {"n": "2", "seed": "1", "beside": number}).page
    commands = re.findall(r"<code>(.*?)</code>", page)
    assert len(commands) == 2
    assert commands[0].replace("dcgan-mnist", "M") == commands[1].replace(explorer.words["vae"], "M")


def test_a_run_shows_its_newest_pictures(explorer: Explorer) -> None:
    page = explorer.fill("run", "curves", {"smooth": "1"}).page
    shown = re.findall(r'<img src="(\S+)" alt="Samples of the run: (\S+)"', page)
    folder = Path(explorer.words["run"]) / "samples"
    assert shown
    for address, name in shown:
        assert explorer.client.get(address).content == (folder / name).read_bytes()


def test_a_run_says_what_ails_it(explorer: Explorer) -> None:
    made = explorer.fill("run", "diagnosis", {"n": "20"})
    assert made.command == f"gencore diagnose {explorer.words['run']} -n 20"
    assert "failures that could be judged" in made.page
