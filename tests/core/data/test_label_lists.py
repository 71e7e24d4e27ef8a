"""Lists of examples to label: written, filled in by others, read back, sorted into classes."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from gencore.data import open_source
from gencore.data.label_lists import label_list, labelled, read_label_list, sort_into_classes
from gencore.errors import GencoreError

NAMES = ["a.png", "deep/b, c.png", "d.png"]


def test_round_trip_keeps_what_others_wrote(tmp_path: Path) -> None:
    """Commas in names, a column of the tool's own, spaces around a label; rows stay in order."""
    (tmp_path / "l.csv").write_bytes(label_list({NAMES[1]: {"label": ""}, NAMES[0]: {"label": "", "by": "margin"}}))
    with (tmp_path / "l.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file_name"] for row in rows] == [NAMES[1], NAMES[0]]
    assert [row["by"] for row in rows] == ["", "margin"]
    (tmp_path / "l.csv").write_text('file_name,label,annotator\n"deep/b, c.png", cat ,7\na.png,,8\n')
    read = read_label_list(tmp_path / "l.csv", NAMES)
    assert labelled(read) == {NAMES[1]: "cat"}
    again = list(csv.DictReader(io.StringIO(label_list(read).decode())))
    assert [row["annotator"] for row in again] == ["7", "8"]


def test_lists_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    with pytest.raises(GencoreError, match="does not exist"):
        read_label_list(path, NAMES)
    path.write_text("file_name,class\na.png,cat\n")
    with pytest.raises(GencoreError, match="no column label"):
        read_label_list(path, NAMES)
    path.write_text("file_name,label\nz.png,cat\n")
    with pytest.raises(GencoreError, match=r"'z\.png', which is not among the data"):
        read_label_list(path, NAMES)


def test_labelled_files_become_a_folder_of_classes(tmp_path: Path) -> None:
    """The data set that the folder then is; labels that leave it are refused, and then nothing is written."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png", "d.png"):
        Image.new("L", (4, 4), 90).save(tmp_path / "in" / name)
    source = open_source(str(tmp_path / "in"), condition="none")
    out = tmp_path / "out"
    for label in ("../x", "a/b", ".hidden", "a\\b", ".."):
        with pytest.raises(GencoreError, match="cannot be a folder's name"):
            sort_into_classes(source, {"a.png": "cat", "d.png": label}, out)
    assert not out.exists()
    sort_into_classes(source, {"a.png": "cat", "deep/b.png": "dog", "d.png": "cat"}, out)
    made = open_source(str(out))
    assert made.class_names == ("cat", "dog")
    assert [path.name for path in made.paths] == ["a.png", "d.png", "deep-b.png"]
    with pytest.raises(GencoreError, match="not empty"):
        sort_into_classes(source, {"a.png": "cat"}, out)
    Image.new("L", (4, 4)).save(tmp_path / "in" / "deep-b.png")
    source = open_source(str(tmp_path / "in"), condition="none")
    with pytest.raises(GencoreError, match="would both become"):
        sort_into_classes(source, {"deep/b.png": "cat", "deep-b.png": "cat"}, tmp_path / "two")
