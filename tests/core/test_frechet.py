"""The Frechet distance against its closed form; figures that do not compare."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from gencore.data import arrays, digits
from gencore.errors import GencoreError
from gencore.evaluation import Metric, frechet_distance, frechet_metric, statistics, train_classifier
from gencore.testing import run_processes
from gencore.testing.conformance import tiny_model


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


def test_two_rows_are_enough() -> None:
    """The mean of 0 and 2 is 1, their covariance 2: the distance to N(1, 2) of the same rows is 0."""
    rows = torch.tensor([[0.0], [2.0]])
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(rows, rows + 3) == pytest.approx(9)


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
    assert (metric - dataclasses.replace(metric, value=metric.value - 2)) == pytest.approx(2)


@pytest.mark.parametrize(
    "change",
    [{"name": "kid"}, {"extractor": "e"}, {"extractor_hash": "0"}, {"resize": "bicubic"}, {"n_real": 9}, {"n_fake": 9}],
)
def test_incompatible_figures_do_not_compare(change: dict) -> None:
    """In whatever way they are put together."""
    base = {"name": "frechet", "extractor": "x", "extractor_hash": "1", "resize": "none", "n_real": 5, "n_fake": 5}
    one, other = Metric(value=1.0, seed=0, **base), Metric(value=2.0, seed=0, **base | change)
    (field,) = change
    for compare in (
        lambda: one < other,
        lambda: other > one,
        lambda: one - other,
        lambda: min(one, other),
        lambda: sorted([one, other]),
    ):
        with pytest.raises(GencoreError, match=f"These figures do not compare: {field} is"):
            compare()


def measure(name: str, count: int, bad: str) -> dict[str, torch.Tensor]:
    """The metric of this rank's part of `count` real and generated images, and the bits of the statistics."""
    classifier = train_classifier(digits("train"), steps=5, seed=int(os.environ["RANK"]) if bad == "extractor" else 0)
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo")
    try:
        mine = torch.arange(count).tensor_split(ranks)[rank]
        real = digits("test").fetch(mine)["x"]
        if bad == "nan" and rank:
            real[0] = torch.nan
        fake = tiny_model(name).sample(len(mine), seed=5, start=int(mine[0]))
        metric = frechet_metric(classifier, real, fake, seed=5, split=True)
        found = statistics(classifier.features(fake), split=True)
    except GencoreError as error:
        return {"refused": torch.tensor(list(str(error).encode()))}
    finally:
        dist.destroy_process_group()
    counts = torch.tensor([metric.n_real, metric.n_fake, found.count])
    value = torch.tensor(metric.value, dtype=torch.float64)
    return {"value": value, "counts": counts, "mean": found.mean, "covariance": found.covariance}


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_evaluation_split_over_ranks_is_that_of_one(ranks: int, tmp_path: Path) -> None:
    """Of samples that the ranks draw, each its part: the figure, its counts, and statistics equal on all to the bit."""
    classifier = train_classifier(digits("train"), steps=5)
    real, fake = digits("test").fetch(torch.arange(101))["x"], tiny_model("dcgan").sample(101, seed=5)
    alone = frechet_metric(classifier, real, fake, seed=5)
    expected = statistics(classifier.features(fake))
    first, *others = run_processes(measure, ranks, tmp_path, "dcgan", 101, "")
    assert first["value"].item() == pytest.approx(alone.value, rel=1e-5)
    assert first["counts"].tolist() == [101, 101, 101]
    torch.testing.assert_close(first["mean"], expected.mean, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(first["covariance"], expected.covariance, rtol=1e-4, atol=1e-7)
    for other in others:
        assert [name for name in first if not torch.equal(first[name], other[name])] == []


@pytest.mark.slow
@pytest.mark.parametrize(("bad", "message"), [("nan", "NaN or infinity"), ("extractor", "different extractors")])
def test_a_bad_part_stops_all(bad: str, message: str, tmp_path: Path) -> None:
    for returned in run_processes(measure, 2, tmp_path, "dcgan", 20, bad):
        assert message in bytes(returned["refused"].tolist()).decode()


def test_classifier_is_seeded_and_needs_labels() -> None:
    before = torch.get_rng_state()
    prints = [train_classifier(digits("train"), steps=3, seed=s).fingerprint() for s in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(GencoreError, match="no labels"):
        train_classifier(arrays(torch.zeros(100, 3)))
