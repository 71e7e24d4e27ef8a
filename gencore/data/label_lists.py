"""Lists of examples to label: a CSV with a row an example, which spreadsheets and labelling tools read and write back.

Columns `file_name` (as seen from the data's folder; the number, for data without files) and `label`, empty until
somebody fills it in. Further columns are kept as they are.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from gencore.data.sources.folder import ImageFolder
from gencore.data.sources.metadata import read_metadata
from gencore.errors import GencoreError

Rows = dict[str, dict[str, Any]]


def read_label_list(path: Path, names: Sequence[str]) -> Rows:
    """{file name: {column: text}}, in the file's order. Raises GencoreError for a file without the two columns, and for
    rows that are none of `names`.
    """
    if not path.is_file():
        raise GencoreError(f"{path} does not exist; expected a .csv file of file names and labels.")
    rows = read_metadata(path)
    if any("label" not in row for row in rows.values()):
        raise GencoreError(f"{path} has no column label; expected file_name and label.")
    if unknown := sorted(set(rows) - set(names)):
        raise GencoreError(f"{path} names {unknown[0]!r}, which is not among the data ({len(unknown)} such rows).")
    return rows


def label_list(rows: Rows) -> bytes:
    """The CSV file; columns that a row lacks are empty in it."""
    columns = list(dict.fromkeys(["file_name", "label", *(column for row in rows.values() for column in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({"file_name": name, **row} for name, row in rows.items())
    return text.getvalue().encode("utf-8", "surrogateescape")


def labelled(rows: Rows) -> dict[str, str]:
    """{file name: label} of the rows with a label, spaces around it dropped."""
    return {name: text for name, row in rows.items() if (text := (row["label"] or "").strip())}


def sort_into_classes(source: ImageFolder, labels: dict[str, str], folder: Path) -> None:
    """Copy the files into `folder`/LABEL/, a folder of classes as image_folder reads it; slashes in names become -.

    Raises GencoreError for a folder that is not empty, a label that cannot be a folder's name, and two files that would
    get one name; nothing is copied then.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise GencoreError(f"{folder} exists and is not empty; name a new folder.")
    copies: dict[Path, str] = {}
    for name, label in labels.items():
        if label.startswith(".") or PurePosixPath(label).name != label or "\\" in label or "\0" in label:
            raise GencoreError(f"The label of {name} is {label!r}, which cannot be a folder's name.")
        made = folder / label / name.replace("/", "-")
        if made in copies:
            raise GencoreError(f"{copies[made]} and {name} would both become {made}: rename one.")
        copies[made] = name
    for made, name in copies.items():
        made.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source.root / name, made)
