from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from gencore.conditions import ClassLabel
from gencore.data import Batches, check_batch, from_dataset
from gencore.data.source import conditions_of
from gencore.errors import GencoreError, NonFiniteError

X = torch.linspace(-1, 1, 10 * 12).reshape(10, 3, 2, 2)


class Rows(Dataset[Any]):
    def __init__(self, rows: list[Any], **attributes: object) -> None:
        self.rows = rows
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


def test_tensors_pairs_and_mappings() -> None:
    labels = torch.arange(10) % 4
    for dataset, classes in (
        (Rows(list(X)), None),
        (TensorDataset(X, labels), 4),
        (Rows([{"x": x, "label": int(y)} for x, y in zip(X, labels, strict=True)], classes=list("abcd")), None),
        (Rows([[x, y] for x, y in zip(X, labels, strict=True)]), 4),
    ):
        source = from_dataset(dataset, num_classes=classes)
        batch = Batches(source, 5, seed=0)[1]
        check_batch(batch, (3, 2, 2))
        assert torch.equal(batch["x"], X[batch["index"]])
        assert len(source) == 10
        if source.num_classes:
            assert source.num_classes == 4
            assert torch.equal(batch["label"], labels[batch["index"]])
        else:
            assert "label" not in batch


def test_other_forms_of_x() -> None:
    pixels = (np.arange(5 * 4 * 4 * 3) % 256).astype(np.uint8).reshape(5, 4, 4, 3)
    expected = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    for rows in ([Image.fromarray(p) for p in pixels], list(torch.from_numpy(pixels).permute(0, 3, 1, 2))):
        assert torch.equal(from_dataset(Rows(rows)).fetch(torch.arange(5))["x"], expected)
    assert from_dataset(Rows([torch.ones(3)] * 2)).shape == (3,)


def test_a_range_is_mapped() -> None:
    unit = from_dataset(Rows(list((X + 1) / 2)), value_range=(0, 1)).fetch(torch.arange(10))["x"]
    torch.testing.assert_close(unit, X, rtol=0, atol=1e-6)


class Augmented(Rows):
    def __getitem__(self, index: int) -> Any:
        noise = torch.randn(()) + float(np.random.normal()) + random.gauss(0, 1)
        return (self.rows[index] + 0.1 * noise).clamp(-1, 1)


def test_looking_at_a_dataset_leaves_the_global_random_state() -> None:
    from_dataset(Augmented(list(X)))  # conftest.py compares the states


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (Rows([]), {}, "is empty"),
        (Rows([torch.rand(1, 4, 4)] * 3), {}, r"looks like \[0, 1\].*value_range=\(0, 1\)"),
        (Rows([torch.eye(4)[None]] * 3), {}, r"looks like \[0, 1\]"),
        (Rows([torch.full((1, 4, 4), 200.0)] * 3), {}, "from 200 to 200"),
        (Rows([torch.ones(2), torch.ones(3)]), {}, r"different shapes: \[\(2,\), \(3,\)\]"),
        (Rows([(torch.ones(2), 1)]), {}, "returns labels, but not how many classes"),
        (Rows([(torch.ones(2), 5)]), {"num_classes": 5}, r"1 labels outside 0 ... 4"),
        (Rows([(torch.ones(2), 0.5)]), {"num_classes": 5}, "the label 0.5 at 0"),
        (Rows([torch.ones(2)]), {"num_classes": 5}, "the label None at 0"),
        (Rows([(torch.ones(2), 1, 2)]), {}, "returns 3 values"),
        (Rows([{"image": torch.ones(2)}]), {}, r"mapping without 'x', only \['image'\]"),
        (Rows(["text"]), {}, "of type str"),
        (Rows([torch.ones(2).long()]), {}, "x of torch.int64"),
        (Rows([torch.ones(2)]), {"value_range": (1, 0)}, r"value_range is \(1, 0\)"),
    ],
)
def test_what_is_refused(dataset: Rows, options: dict[str, Any], message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        from_dataset(dataset, **options)


def test_bad_numbers_and_iterables_are_refused() -> None:
    with pytest.raises(NonFiniteError, match="first is example 2"):
        from_dataset(Rows([torch.ones(2), torch.ones(2), torch.tensor([0.0, float("nan")])]))

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter([])

    with pytest.raises(GencoreError, match="map-style"):
        from_dataset(Stream())


@pytest.mark.parametrize("kind", ["tensor", "float", "list", "numpy", "text"])
def test_one_hot_and_text_labels(kind: str) -> None:
    numbers = [2, 0, 1, 2]
    names = ("cat", "dog", "owl")
    made = {
        "tensor": lambda k: torch.eye(3, dtype=torch.long)[k],
        "float": lambda k: torch.eye(3)[k],
        "list": lambda k: [int(i == k) for i in range(3)],
        "numpy": lambda k: np.eye(3, dtype=bool)[k],
        "text": lambda k: names[k],
    }[kind]
    rows = Rows([(torch.ones(2), made(k)) for k in numbers])
    source = from_dataset(rows, class_names=names)
    assert source.fetch(torch.arange(4))["label"].tolist() == numbers
    assert (source.num_classes, source.class_names) == (3, names)
    assert conditions_of(source) == (ClassLabel(count=3, names=names),)
    if kind != "text":
        assert from_dataset(rows).num_classes == 3


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["cat", "cow"], {"class_names": ("cat", "dog")}, "label 'cow' at 1, which is the name of no class"),
        (["cat", "cow"], {}, "class_names, for labels that are names"),
        (["cat"], {"num_classes": 3}, "name of no class"),
        ([[0, 1, 1]], {}, "one is 1 and the others are 0"),
        ([[0, 1]], {"num_classes": 3}, "3 numbers of which one is 1"),
        ([torch.tensor([0.5, 0.5])], {}, "one is 1"),
        ([1], {"num_classes": 3, "class_names": ("a", "b")}, "num_classes is 3, and class_names has 2"),
        ([{"a": 1}], {"num_classes": 3}, "label {'a': 1} at 0"),
    ],
)
def test_labels_that_are_none(labels: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        from_dataset(Rows([(torch.ones(2), label) for label in labels]), **options)


def test_what_is_returned_beside_x_and_label_is_named() -> None:
    with pytest.raises(GencoreError, match=r"returns \['mask'\] beside x and label"):
        from_dataset(Rows([{"x": torch.ones(2), "mask": torch.ones(2)}]))


def test_one_rule_for_ranges() -> None:
    mask = torch.tensor([[[0, 1], [1, 0]]], dtype=torch.uint8)
    for rows in ([mask], [Image.fromarray(mask[0].numpy())]):
        with pytest.raises(GencoreError, match="whole numbers up to 1, of 255"):
            from_dataset(Rows(rows))
        x = from_dataset(Rows(rows), value_range=(0, 1)).fetch(torch.arange(1))["x"]
        assert x[0, 0].tolist() == [[-1, 1], [1, -1]]
    counts = torch.tensor([[[0, 4095]]])
    assert from_dataset(Rows([counts]), value_range=(0, 4095)).fetch(torch.arange(1))["x"].flatten().tolist() == [-1, 1]
    with pytest.raises(GencoreError, match="values from 0 to 4095; data_range says 0 to 255"):
        from_dataset(Rows([counts]), value_range=(0, 255))
