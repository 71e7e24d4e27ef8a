"""Drawing round places of a map: who is inside, the list of labels, and the direction that the list gives."""

from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path

import pytest
import torch

from gencore.errors import GencoreError
from gencore.explorer.selecting import outline, select, within
from tests.explorer.conftest import Explorer, typed

pytestmark = pytest.mark.xdist_group("explorer")  # its tests share what they look at

FORM = {"data": "digits", "n": "60", "method": "pca", "seed": "0", "word": "mine"}


def rows(content: bytes) -> dict[str, str]:
    return {row["file_name"]: row["label"] for row in csv.DictReader(io.StringIO(content.decode()))}


def test_who_is_inside() -> None:
    places = torch.tensor([[0.1, 0.1], [0.3, 0.1], [0.3, 0.29], [0.9, 0.9]])
    corner = [(0.0, 0.0), (0.4, 0.0), (0.0, 0.4)]
    assert within(places, corner).tolist() == [True, True, False, False]
    assert within(places, [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]).all()


def test_a_lasso_goes_before_the_rectangle() -> None:
    edges = {"left": "10", "top": "20", "right": "30", "bottom": "40"}
    assert outline(edges) == [(0.1, 0.2), (0.3, 0.2), (0.3, 0.4), (0.1, 0.4)]
    assert outline(edges | {"lasso": "0,0 1,0 1,1"}) == [(0, 0), (1, 0), (1, 1)]
    for wrong in ({"lasso": "0,0 1,1"}, {"lasso": "0,0 1,x 2,2"}, {"lasso": "0,0 nan,1 1,1"}, {"left": "x"}):
        with pytest.raises(GencoreError, match="outline"):
            outline(wrong)


def test_halves_of_a_map_are_all_of_it(explorer: Explorer) -> None:
    model = explorer.words["vae"]
    left = select(model, FORM | {"left": "0", "top": "0", "right": "50", "bottom": "100"})
    further = FORM | {"word": "rest", "left": "50.1", "top": "0", "right": "100", "bottom": "100"}
    both = select(model, further, left.labels.content)
    assert left.count == left.labelled
    assert both.labelled == 60
    assert both.words == ("mine", "rest")
    first, second = rows(left.labels.content), rows(both.labels.content)
    assert set(first.values()) == {"mine"}
    assert {name: label for name, label in second.items() if label == "mine"} == first
    with pytest.raises(GencoreError, match="No place lies there"):
        select(model, FORM | {"left": "0", "top": "0", "right": "1", "bottom": "1"})
    with pytest.raises(GencoreError, match="label is empty"):
        select(model, FORM | {"word": " "})


def test_the_list_is_a_direction(
    explorer: Explorer, digit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the page: the list is saved, and the command beside it takes it."""
    monkeypatch.chdir(tmp_path)
    half = FORM | {"left": "0", "top": "0", "right": "50", "bottom": "100"}
    answer = explorer.client.post(f"{explorer.address('vae', 'map')}/select", data=half)
    address = re.findall(r'<a href="(\S+)" download="labels.csv"', answer.text)[0]
    (tmp_path / "labels.csv").write_bytes(explorer.client.get(address).content)
    (tmp_path / "picture.png").write_bytes(digit.read_bytes())
    command = html.unescape(re.findall(r'data-copy="(.*?)"', answer.text)[0])
    typed(f"{command} --steps 1")
    form = {"steps": "1", "plus": "mine", "data": "digits", "reach": "2", "seed": "0"}
    files = {"picture": tmp_path / "picture.png", "labels": tmp_path / "labels.csv"}
    assert explorer.fill("vae", "edit", form, files).content == (tmp_path / "edited.png").read_bytes()


def test_only_maps_have_places(explorer: Explorer) -> None:
    answer = explorer.client.post(f"{explorer.address('vae', 'walk')}/select", data=FORM)
    assert answer.status_code == 422
    assert "no places to select" in answer.text
