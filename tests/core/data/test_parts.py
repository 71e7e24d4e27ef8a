"""Two parts without a common example, whatever the data; names of examples through views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gencore.data import InMemory, digits, open_source
from gencore.data.by_class import balanced, balanced_rows, labels_of
from gencore.data.parts import at_most, example_names, held_out, train_and_test
from gencore.data.views import subset
from gencore.errors import GencoreError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten cats and five dogs of 6 x 6 grey pixels."""
    for name, count in (("cat", 10), ("dog", 5)):
        (tmp_path / name).mkdir()
        for k in range(count):
            pixels = np.random.default_rng(k).integers(0, 256, (6, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{name}{k}.png")
    return tmp_path


def positions(source: object) -> set[int]:
    return set(source.fetch(torch.arange(len(source)))["index"].tolist())  # type: ignore[attr-defined,arg-type]


def test_named_data_keep_their_own_parts() -> None:
    train, test = train_and_test("digits")
    assert (len(train), len(test)) == (1400, 397)


def test_a_folder_is_divided_class_by_class(folder: Path) -> None:
    """A fifth of each, rounded up; nothing is in both; another seed holds out others."""
    train, test = train_and_test(str(folder))
    assert labels_of(train).bincount().tolist() == [8, 4]
    assert labels_of(test).bincount().tolist() == [2, 1]
    assert positions(train) | positions(test) == set(range(15))
    assert not positions(train) & positions(test)
    assert positions(train_and_test(str(folder))[1]) == positions(test)
    assert any(positions(train_and_test(str(folder), seed=seed)[1]) != positions(test) for seed in (1, 2, 3))


def test_other_data_to_test_on_have_the_same_classes(folder: Path, tmp_path: Path) -> None:
    """Given by another word, they are taken whole; of other classes, refused."""
    other = tmp_path.parent / f"{tmp_path.name}-other"
    for name in ("cat", "dog"):
        (other / name).mkdir(parents=True)
        Image.fromarray(np.full((6, 6), 200, np.uint8)).save(other / name / "a.png")
    train, test = train_and_test(str(folder), test=str(other))
    assert (len(train), len(test)) == (15, 2)
    with pytest.raises(GencoreError, match="other classes"):
        train_and_test("digits", test=str(other), image_size=8, channels=1)


def test_too_small_a_class_is_refused() -> None:
    lonely = InMemory(x=torch.zeros(3, 2), label=torch.tensor([0, 0, 1]), num_classes=2)
    with pytest.raises(GencoreError, match="one example of class 1"):
        held_out(lonely)
    train, test = held_out(InMemory(x=torch.zeros(3, 2)))
    assert (len(train), len(test)) == (2, 1)


def test_a_draw_is_in_order_and_by_seed() -> None:
    source = digits("test")
    some = at_most(source, 10, seed=1)
    index = some.fetch(torch.arange(10))["index"]
    assert index.tolist() == sorted(index.tolist())
    assert at_most(source, None) is source
    assert at_most(source, 1000) is source
    assert positions(at_most(source, 10, seed=2)) != set(index.tolist())
    with pytest.raises(GencoreError, match="count"):
        at_most(source, 0)


def test_names_are_those_of_files_through_views(folder: Path) -> None:
    source = open_source(str(folder))
    batch = subset(subset(source, torch.tensor([12, 3])), torch.tensor([1, 0])).fetch(torch.tensor([0, 1]))
    assert example_names(subset(source, torch.tensor([0])), batch["index"]) == ["cat/cat3.png", "dog/dog2.png"]
    assert example_names(digits("test"), torch.tensor([5, 0])) == ["5", "0"]


def test_few_labels_are_drawn_by_seed() -> None:
    """`balanced` is the draw of seed 0."""
    source = digits("train")
    label, classes = labels_of(source), tuple(range(10))
    assert torch.equal(balanced(source, classes, 25), balanced_rows(label, classes, 25))
    rows = balanced_rows(label, classes, 25, seed=3)
    assert not torch.equal(rows, balanced_rows(label, classes, 25))
    assert label[rows].bincount().tolist() == [3] * 5 + [2] * 5
    with pytest.raises(GencoreError, match="the list has 0 examples of class 7"):
        balanced_rows(torch.arange(5), (0, 7), 2, name="the list")
