"""The table of probes, against scikit-learn's on the same rows."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from gencore import create
from gencore.data import InMemory, digits
from gencore.data.by_class import balanced_rows
from gencore.data.parts import at_most
from gencore.errors import GencoreError
from gencore.evaluation.beside import RawData, with_baselines
from gencore.evaluation.probing import probe_rows


@pytest.fixture
def model() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create("triplet-network", width=8, code_dim=4)


def of(source: Any) -> tuple[Tensor, Tensor]:
    batch = source.fetch(torch.arange(len(source)))
    return batch["x"].flatten(1), batch["label"]


def test_rows_of_raw_data_are_those_of_scikit_learn(model: Any) -> None:
    """All labels, and the mean and deviation of two draws of 20."""
    train, test = at_most(digits("train"), 150), digits("test")
    rows = probe_rows(model, train, test, few=(20,), draws=2, k=5, seed=7)
    assert [(row.codes, row.labels, row.dim) for row in rows] == [
        (name, count, dim)
        for count in (150, 20)
        for name, dim in (("trained", 4), ("random weights", 4), ("raw data", 64))
    ]
    (x, label), (test_x, test_label) = of(train), of(test)
    scale = lambda rows: x[rows].std(0, correction=0).clamp_min(1e-6)

    def theirs(chosen: Tensor, k: int) -> tuple[float, float]:
        mean, deviation = x[chosen].mean(0), scale(chosen)
        linear = LogisticRegression(C=1 / (1e-3 * len(chosen)), max_iter=500, tol=1e-5)
        linear.fit(((x[chosen] - mean) / deviation).numpy(), label[chosen].numpy())
        knn = KNeighborsClassifier(k).fit(x[chosen].numpy(), label[chosen].numpy())
        return (
            linear.score(((test_x - mean) / deviation).numpy(), test_label.numpy()),
            knn.score(test_x.numpy(), test_label.numpy()),
        )

    linear, knn = theirs(torch.arange(150), 5)
    assert rows[2].linear == (pytest.approx(linear, abs=0.01), 0.0)
    assert rows[2].knn[0] == pytest.approx(knn, abs=1e-6)
    draws = [theirs(balanced_rows(label, tuple(range(10)), 20, seed=7 + i), 2) for i in range(2)]
    column = [linear for linear, _ in draws]
    assert rows[5].linear[0] == pytest.approx(statistics.fmean(column), abs=0.01)
    assert rows[5].linear[1] == pytest.approx(statistics.stdev(column), abs=0.01)
    assert rows[5].knn[0] == pytest.approx(statistics.fmean(knn for _, knn in draws), abs=1e-6)
    assert rows[5].nonlinear is None


def test_only_a_probe_with_a_hidden_layer_reads_an_exclusive_or(model: Any) -> None:
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).clamp(-3, 3)
    label = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).long()
    source = InMemory(x=x, label=label, num_classes=2)
    vectors = create("triplet-network", data_shape=(2,), width=8, code_dim=4)
    raw = probe_rows(vectors, source, source, nonlinear=True)[2]
    assert raw.nonlinear is not None
    assert raw.linear[0] < 0.65
    assert raw.nonlinear[0] > 0.95


def test_baselines_leave_the_random_state_alone(model: Any) -> None:
    """Random weights are drawn from the seed, and are not the model's; raw data are the numbers as they are."""
    before = torch.get_rng_state()
    (_, same), (_, first), (_, raw) = with_baselines(model, seed=1)
    again, other = (with_baselines(model, seed=seed)[1][1] for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert same is model
    weights = [next(iter(net.parameters())) for net in (first, again, other, model)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])
    x = torch.arange(8.0).view(2, 1, 2, 2)
    assert isinstance(raw, RawData)
    assert raw.encode(x).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_refusals(model: Any) -> None:
    with pytest.raises(GencoreError, match="no labels"):
        probe_rows(model, InMemory(x=torch.zeros(4, 1, 8, 8)), digits("test"))
    with pytest.raises(GencoreError, match="labelled examples is 5"):
        probe_rows(model, digits("train"), digits("test"), few=(5,))
    with pytest.raises(GencoreError, match="draws"):
        probe_rows(model, digits("train"), digits("test"), draws=0)
