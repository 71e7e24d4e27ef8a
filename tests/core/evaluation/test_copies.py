"""The nearest training examples: found over parts of the data, with their distances; a copy is at distance 0."""

from __future__ import annotations

import pytest
import torch

from gencore.data import InMemory
from gencore.errors import GencoreError
from gencore.evaluation import copies
from gencore.evaluation.copies import nearest_examples


@pytest.fixture
def source() -> InMemory:
    return InMemory(x=torch.rand(50, 1, 3, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1, name="noise")


def test_the_nearest_are_those_of_all_distances(source: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    samples[2] = source.x[17]
    gaps = (samples[:, None] - source.x[None]).square().flatten(2).mean(2).sqrt()
    distances, places = gaps.sort(1)
    for rows in (4096, 7, 2):  # in one part, in several, in parts with fewer than k examples
        monkeypatch.setattr(copies, "ROWS", rows)
        found = nearest_examples(samples, source, 3)
        assert torch.equal(found.place, places[:, :3])
        torch.testing.assert_close(found.distance, distances[:, :3], atol=1e-3, rtol=0)
    assert found.place[2, 0] == 17
    assert found.distance[2, 0] < 1e-3 < found.distance[1, 0]


def test_what_does_not_fit_is_said(source: InMemory) -> None:
    with pytest.raises(GencoreError, match="expected \\(1, 2, 2\\)"):
        nearest_examples(torch.zeros(1, 1, 2, 2), source, 1)
    with pytest.raises(GencoreError, match="1 to 50"):
        nearest_examples(torch.zeros(1, 1, 3, 3), source, 51)
