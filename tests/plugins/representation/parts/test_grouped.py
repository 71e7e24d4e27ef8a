"""Examples of one class together."""

from __future__ import annotations

import pytest
import torch

from gencore.data import InMemory, digits
from gencore.errors import GencoreError
from gencore_representation.parts.grouped import grouped


def test_groups_are_of_one_class() -> None:
    """Every four, in an order of the epoch's own; an epoch is as long as the source, and sees nearly all of it."""
    source = digits()
    view = grouped(source, 4)
    first, again, second = view.order(7, 0), view.order(7, 0), view.order(7, 1)  # type: ignore[attr-defined]
    assert len(first) == len(source)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert source.label is not None
    groups = source.label[first].view(-1, 4)
    assert (groups == groups[:, :1]).all()
    assert len(groups[:20, 0].unique()) > 5
    assert len(first.unique()) > len(source) - 40


def test_refusals() -> None:
    """No labels; no two classes large enough."""
    with pytest.raises(GencoreError, match="no labels"):
        grouped(InMemory(x=torch.zeros(4, 2)), 2)
    with pytest.raises(GencoreError, match="two or more"):
        grouped(InMemory(x=torch.zeros(4, 2), label=torch.tensor([0, 0, 0, 1]), num_classes=2), 2)
