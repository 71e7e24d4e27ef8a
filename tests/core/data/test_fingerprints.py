from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gencore.data import (
    arrays,
    augmented,
    digits,
    fingerprint,
    from_dataset,
    image_folder,
    open_source,
    subset,
    unpaired,
)
from gencore.data.fingerprints import check_fingerprint
from gencore.errors import GencoreError


def folder(root: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 200).save(root / name)
    return root


def test_it_is_the_same_wherever_the_data_lie(tmp_path: Path) -> None:
    names = ("cat/1.png", "dog/1.png", "dog/2.png")
    first = fingerprint(image_folder(folder(tmp_path / "a", names)))
    assert first == fingerprint(image_folder(folder(tmp_path / "b", names)))
    assert (first["count"], first["shape"], first["class_names"]) == (3, [1, 4, 4], ["cat", "dog"])
    assert json.loads(json.dumps(first)) == first
    check_fingerprint(first, image_folder(tmp_path / "b"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("cat/1.png", "dog/1.png"), "count is 2 and was 3"),
        (("cat/1.png", "dog/1.png", "dog/3.png"), "digest is"),
        (("cat/1.png", "dag/1.png", "dag/2.png"), r"class_names is \['cat', 'dag'\] and was \['cat', 'dog'\]"),
        (("cat/1.png", "cow/1.png", "dog/1.png", "dog/2.png"), "num_classes is 3 and was 2"),
    ],
)
def test_halved_renamed_exchanged_or_grown_data_are_named(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    recorded = fingerprint(image_folder(folder(tmp_path / "a", ("cat/1.png", "dog/1.png", "dog/2.png"))))
    with pytest.raises(GencoreError, match=message):
        check_fingerprint(recorded, image_folder(folder(tmp_path / "b", names)))


def test_data_in_memory_are_hashed_whole() -> None:
    x = np.zeros((600, 4), np.float32)
    other = x.copy()
    other[123, 2] = 1e-6
    assert fingerprint(arrays(x)) == fingerprint(arrays(x.copy()))
    assert fingerprint(arrays(x)) != fingerprint(arrays(other))
    labels = np.arange(600) % 2
    assert (
        fingerprint(arrays({"x": x, "y": labels}))["digest"] != fingerprint(arrays({"x": x, "y": 1 - labels}))["digest"]
    )


def test_views_and_other_sources_have_one() -> None:
    views = [
        digits(),
        digits("test"),
        subset(digits(), torch.arange(9)),
        augmented(digits()),
        unpaired(digits(), digits()),
    ]
    prints = [fingerprint(view)["digest"] for view in views]
    assert len(set(prints)) == len(prints)
    assert prints == [fingerprint(view)["digest"] for view in views]
    assert fingerprint(open_source("scenes")) == fingerprint(open_source("scenes"))
    assert fingerprint(open_source("scenes"))["digest"] != fingerprint(open_source("scenes", split="test"))["digest"]


def test_a_dataset_that_augments_at_random_keeps_its_own() -> None:
    class Noisy(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.rand(3) * 2 - 1

    source = from_dataset(Noisy())
    assert fingerprint(source) == fingerprint(source)
