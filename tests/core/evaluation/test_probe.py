"""Fresh probes: what is linear, what is not, and what stands beside it."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from gencore import create
from gencore.data import digits
from gencore.errors import GencoreError
from gencore.evaluation.probe import accuracy, compare, knn_accuracy, linear_probe, nonlinear_probe


def test_linear_probe_is_softmax_regression() -> None:
    """Logits of scikit-learn's, at the same penalty on the same standardised codes."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(3, (150,), generator=generator)
    z = torch.randn(150, 4, generator=generator) * 3 + label[:, None]
    probe = linear_probe(z, label, penalty=0.01, steps=300)
    standardised = ((z - z.mean(0)) / z.std(0, correction=0)).numpy()
    theirs = LogisticRegression(C=1 / (0.01 * 150), max_iter=5000, tol=1e-8).fit(standardised, label.numpy())
    ours = probe(z).softmax(1)
    torch.testing.assert_close(ours, torch.from_numpy(theirs.predict_proba(standardised)).float(), rtol=0, atol=2e-3)


def test_exclusive_or_is_not_linear() -> None:
    """A linear judge is blind to it, one with a hidden layer is not."""
    z = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    label = ((z[:, 0] > 0) ^ (z[:, 1] > 0)).long()
    before = torch.get_rng_state()
    assert accuracy(linear_probe(z, label), z, label) < 0.65
    assert accuracy(nonlinear_probe(z, label), z, label) > 0.95
    assert torch.equal(torch.get_rng_state(), before)


def test_neighbours_vote() -> None:
    """Two of three."""
    z = torch.tensor([[0.0], [0.1], [0.2], [5.0]])
    label = torch.tensor([1, 0, 1, 0])
    assert knn_accuracy(z, label, torch.tensor([[0.1]]), torch.tensor([1]), k=3) == 1
    assert knn_accuracy(z, label, torch.tensor([[0.1]]), torch.tensor([1]), k=1) == 0


def test_compare_prints_what_belongs_beside() -> None:
    """An untrained model's two rows are alike; raw digits are read well at 100 labels; labels count."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create("conv-autoencoder")
    few = compare(model, digits("train"), digits("test"), num_labels=100)
    assert [row.codes for row in few] == ["trained", "random weights", "raw data"]
    assert few[0].linear == few[1].linear
    assert few[2].dim == 64
    assert 0.75 < few[2].linear < 0.95
    assert 0.75 < few[2].knn < 0.95
    assert compare(model, digits("train"), digits("test"))[2].linear > few[2].linear + 0.03


def test_refusals() -> None:
    """Codes and labels that do not go together."""
    with pytest.raises(GencoreError, match="expected \\(N, D\\)"):
        linear_probe(torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64))
