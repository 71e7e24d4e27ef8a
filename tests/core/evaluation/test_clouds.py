"""Distances and shares of two clouds against numbers by hand and torchmetrics; intervals against what they promise."""

from __future__ import annotations

import functools

import pytest
import torch

from gencore.errors import GencoreError
from gencore.evaluation import clouds, intervals
from gencore.evaluation.fidelity import psnr, ssim
from gencore.evaluation.frechet import frechet_distance


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


of_frechet = functools.partial(intervals.of_distance, frechet_distance)


def test_kernel_distance_by_hand() -> None:
    """Of {0, 1} and {0, 2} in one dimension, k(x, y) = (x y + 1)^3: 1 + 1 - 2 (1 + 1 + 1 + 27) / 4."""
    real, fake = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    assert clouds.kid(real, fake) == pytest.approx(1 + 1 - 2 * 30 / 4)


@pytest.mark.slow  # its import takes seconds
def test_figures_are_those_of_torchmetrics() -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
    from torchmetrics.image.fid import _compute_fid
    from torchmetrics.image.kid import poly_mmd

    real, fake = torch.randn(50, 6, dtype=torch.float64), torch.randn(50, 6, dtype=torch.float64) + 0.3
    assert clouds.kid(real, fake) == pytest.approx(poly_mmd(real, fake).item(), rel=1e-9)
    moments = [moment for x in (real, fake) for moment in (x.mean(0), x.T.cov())]
    assert frechet_distance(real, fake) == pytest.approx(_compute_fid(*moments).item(), rel=1e-6)
    true = torch.rand(1, 3, 24, 20) * 255
    made = (true + 20 * torch.randn_like(true)).clamp(0, 255)
    expected = peak_signal_noise_ratio(made, true, data_range=255.0).item()
    assert psnr(made, true) == pytest.approx(expected, rel=1e-5)
    # its mean is over reflected borders too; ours, as in the paper, over the places where the window lies inside
    everywhere = structural_similarity_index_measure(made, true, data_range=255.0, return_full_image=True)[1]
    assert ssim(made, true) == pytest.approx(everywhere[..., 5:-5, 5:-5].mean().item(), rel=1e-4)


def test_weights_count_a_row_as_often_as_it_is_drawn() -> None:
    """But never against itself: weights of 0 and 1 leave rows out; a weight of 2 adds no pair of equal rows."""
    real, fake = torch.randn(9, 3), torch.randn(8, 3)
    keep = torch.tensor([1.0] * 6 + [0.0] * 3)
    assert clouds.Kernels.of(real, fake).distance(keep) == pytest.approx(clouds.kid(real[:6], fake))
    twice = clouds.Kernels.of(real, fake).distance(torch.full((9,), 2.0))
    assert twice == pytest.approx(clouds.kid(real, fake))


def test_large_clouds_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "KERNEL_ROWS", 20)
    real, fake = torch.randn(40, 3), torch.randn(25, 3)
    expected = (clouds.kid(real[:20], fake[:13]) + clouds.kid(real[20:], fake[13:])) / 2
    assert clouds.kid(real, fake) == pytest.approx(expected)


def test_shares_by_hand() -> None:
    """Real 0 ... 9 on a line: the third neighbour is 2 or 3 away, the fifth 3 to 5. Fakes at 0 ... 5, and one far."""
    real = torch.arange(10.0)[:, None]
    fake = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [100.0]])
    found = clouds.shares(real, fake)
    assert found["precision"].tolist() == [1, 1, 1, 1, 1, 1, 0]
    # the far fake's own ball reaches all real ones, which it should not: recall is fooled, coverage is not
    assert found["recall"].tolist() == [1] * 10
    # radii of the 5th neighbour: 5 4 3 3 3 3 3 3 4 5; a fake at 0 lies in the balls of 0 ... 3
    assert found["density"][0].item() == pytest.approx(4 / 5)
    assert found["coverage"].tolist() == [1] * 9 + [1 if 9 - 5 <= 5 else 0]
    assert found["coverage"].dtype == torch.float64


def test_fakes_of_one_place_have_precision_and_no_recall() -> None:
    real = torch.randn(200, 2)
    fake = real[:1] + 1e-3 * torch.randn(200, 2)
    found = {name: share.mean().item() for name, share in clouds.shares(real, fake).items()}
    assert found["precision"] > 0.99
    assert found["recall"] < 0.05
    assert found["coverage"] < 0.1
    same = {name: share.mean().item() for name, share in clouds.shares(real, torch.randn(200, 2)).items()}
    assert min(same["precision"], same["recall"], same["coverage"]) > 0.8
    assert same["density"] == pytest.approx(1, abs=0.15)


def test_frechet_falls_with_n_and_its_limit_is_near_the_truth() -> None:
    """Of two draws of one normal the truth is 0; the bias is linear in 1 / n, so that the limit has little of it."""
    real, fake = torch.randn(5000, 16), torch.randn(400, 16)
    found = clouds.frechet_at_sizes(real, fake)
    assert list(found) == ["400", "200", "100", "limit"]
    assert found["400"] == pytest.approx(frechet_distance(real, fake))
    assert found["400"] < found["200"] < found["100"]
    assert abs(found["limit"]) < found["400"] / 3


def test_bootstrap_of_a_mean_is_its_standard_error() -> None:
    values = torch.randn(400) * 3
    low, high = intervals.of_mean(values, resamples=1000)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std().item() / 20, rel=0.1)
    assert low < values.mean().item() < high
    assert intervals.of_mean(values, resamples=1000) == (low, high)


def test_intervals_of_distances_hold_their_value_and_shrink() -> None:
    real, fake = torch.randn(400, 4), torch.randn(400, 4) * 1.3
    widths = []
    for n in (50, 400):
        value = clouds.kid(real[:n], fake[:n])
        for (low, high), inside in (
            (of_frechet(real[:n], fake[:n], resamples=30), frechet_distance(real[:n], fake[:n])),
            (intervals.of_kid(value, real[:n], fake[:n], resamples=30), value),
        ):
            assert low < inside < high
            widths.append(high - low)
    assert widths[2] < widths[0] / 1.8
    assert widths[3] < widths[1] / 1.8


def test_intervals_of_distances_are_as_wide_as_fresh_draws_vary() -> None:
    """Of 60 pairs of clouds, the spread of the distances against the mean width that eight pairs' bootstrap gives."""
    pairs = [(torch.randn(100, 3), torch.randn(100, 3) * 1.3 + 0.3) for _ in range(60)]
    kid = lambda real, fake, **more: intervals.of_kid(clouds.kid(real, fake), real, fake, **more)
    for measure, interval in ((frechet_distance, of_frechet), (clouds.kid, kid)):
        spread = torch.tensor([measure(*pair) for pair in pairs]).std().item()
        bounds = torch.tensor([interval(*pair, resamples=40) for pair in pairs[:8]])
        width = (bounds[:, 1] - bounds[:, 0]).mean().item()
        assert 0.6 < width / (2 * 1.96 * spread) < 1.7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: clouds.kid(x[:1], x), "2 or more"),
        (lambda x: clouds.kid(x, x[:, :2]), "expected"),
        (lambda x: clouds.shares(x[:5], x), "more than 5"),
        (lambda x: clouds.frechet_at_sizes(x, x[:7]), "at least 8"),
    ],
)
def test_too_few_are_refused(call: object, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        call(torch.randn(20, 3))
