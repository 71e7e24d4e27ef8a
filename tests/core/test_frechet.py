"""The Frechet distance against its closed form; figures that do not compare."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from gencore.data import arrays, digits
from gencore.errors import GencoreError
from gencore.evaluation import frechet_distance, frechet_metric, train_classifier


def test_gaussians_with_known_moments() -> None:
    """(mean difference)^2 + (sigma_a - sigma_b)^2 an axis, exactly, for samples standardised to those moments."""
    draws = torch.randn(500, 3, dtype=torch.float64)
    draws = (draws - draws.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(draws.T))).T
    a, b = draws * torch.tensor([1.0, 2.0, 3.0]), draws * torch.tensor([2.0, 2.0, 1.0]) + torch.tensor([0.0, 3.0, 0.0])
    assert frechet_distance(a, b) == pytest.approx(9 + 1 + 4, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_rotation_changes_nothing() -> None:
    a, b = torch.randn(50, 4), torch.randn(60, 4) * 2
    turn = torch.linalg.qr(torch.randn(4, 4)).Q
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-4)


@pytest.mark.parametrize("bad", [torch.zeros(1, 3), torch.zeros(3), torch.zeros(5, 4), torch.full((5, 3), torch.nan)])
def test_bad_features(bad: torch.Tensor) -> None:
    with pytest.raises(GencoreError):
        frechet_distance(torch.randn(5, 3), bad)


def test_provenance() -> None:
    classifier = train_classifier(digits("train"), steps=5)
    x = digits("test").fetch(torch.arange(100))["x"]
    metric = frechet_metric(classifier, x, x + 0.1, seed=0)
    assert metric.n_real == metric.n_fake == 100
    assert metric.extractor_hash == classifier.fingerprint()
    assert frechet_metric(classifier, x, x, seed=1) < metric
    other = dataclasses.replace(metric, n_fake=50)
    with pytest.raises(GencoreError, match="n_fake is 100 in one, 50"):
        metric < other  # noqa: B015
    with pytest.raises(GencoreError, match="do not compare"):
        metric - dataclasses.replace(metric, extractor_hash="0")


def test_classifier_is_seeded_and_needs_labels() -> None:
    before = torch.get_rng_state()
    prints = [train_classifier(digits("train"), steps=3, seed=s).fingerprint() for s in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(GencoreError, match="no labels"):
        train_classifier(arrays(torch.zeros(100, 3)))
