"""Search by codes against sorting by hand."""

from __future__ import annotations

import pytest
import torch

import gencore.evaluation.retrieval as retrieval
from gencore.errors import GencoreError
from gencore.evaluation.retrieval import nearest, recall_at, same_class_recall


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_nearest_equals_a_full_sort(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several blocks, with and without the query itself."""
    monkeypatch.setattr(retrieval, "BLOCK", 100)
    z = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for i in range(30):
        if metric == "euclidean":
            gap = (z - z[i]).square().sum(1).sqrt()
        else:
            gap = 1 - (z @ z[i]) / (z.norm(dim=1) * z[i].norm())
        found, gaps = nearest(z, z, 5, metric=metric, exclude_self=True)  # type: ignore[arg-type]
        order = gap.argsort()
        assert found[i].tolist() == order[order != i][:5].tolist()
        torch.testing.assert_close(gaps[i], gap[found[i]], rtol=1e-6, atol=1e-9)
    assert nearest(z, z, 1)[0][:, 0].tolist() == list(range(30))


def test_recalls_by_hand() -> None:
    """Two of three queries have theirs; of the classes, one of three."""
    found = torch.tensor([[0, 1], [2, 0], [1, 2]])
    assert recall_at(found, torch.tensor([1, 2, 0])) == pytest.approx(2 / 3)
    assert recall_at(found, torch.tensor([[5, 1], [6, 5], [1, 2]])) == pytest.approx(2 / 3)
    assert same_class_recall(found, torch.tensor([7, 5, 5]), torch.tensor([5, 6, 6])) == pytest.approx(1 / 3)


def test_refusals() -> None:
    """More neighbours than there are, other dimensions."""
    z = torch.zeros(3, 2)
    with pytest.raises(GencoreError, match="k is 3"):
        nearest(z, z, 3, exclude_self=True)
    with pytest.raises(GencoreError, match="expected \\(Q, D\\)"):
        nearest(z, torch.zeros(3, 4), 1)
    with pytest.raises(GencoreError, match="gallery's own"):
        nearest(z[:2], z, 1, exclude_self=True)
