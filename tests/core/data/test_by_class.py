"""Parts of labelled sources, by class."""

from __future__ import annotations

import pytest
import torch

from gencore.data import InMemory, by_class
from gencore.data.by_class import balanced, filling, of_classes
from gencore.errors import GencoreError


def source(count: int = 40, classes: int = 4) -> InMemory:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 1, 8, 8, generator=generator) * 2 - 1
    return InMemory(x=x, label=torch.arange(count) % classes, num_classes=classes)


def test_balanced_takes_equally_many_of_each_class() -> None:
    chosen = balanced(source(), (0, 2, 3), 10)
    assert chosen.unique().numel() == 10
    assert (chosen % 4).bincount(minlength=4).tolist() == [4, 0, 3, 3]
    assert torch.equal(chosen, balanced(source(), (0, 2, 3), 10))
    assert len(balanced(source(), (0, 1), 2)) == 2


def test_of_classes_keeps_those_classes() -> None:
    kept = of_classes(source(), (1, 3))
    assert set(kept.fetch(torch.arange(len(kept)))["label"].tolist()) == {1, 3}
    assert len(kept) == 20


def test_filling_fills_a_batch_on_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert filling(torch.arange(3), 8).tolist() == [0, 1, 2] * 3
    assert filling(torch.arange(4), 4).tolist() == [0, 1, 2, 3]
    monkeypatch.setattr(by_class, "process_count", lambda: 2)
    assert filling(torch.arange(3), 8).tolist() == [0, 1, 2] * 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: balanced(source(), (0, 9), 4), "0 examples of class 9"),
        (lambda: balanced(source(), (0, 1), 1), "at least one"),
        (lambda: of_classes(source(), (7,)), r"classes \[7\]"),
        (lambda: of_classes(InMemory(x=torch.zeros(4, 2)), (0,)), "no labels"),
    ],
)
def test_missing_classes_are_named(call: object, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        call()
