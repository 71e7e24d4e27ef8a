"""Figures of merit of showers, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import scipy.stats
import torch

from gencore.data.toys.showers import LAYERS, showers, summary
from gencore.errors import GencoreError
from gencore_gan.parts.shower_figures import distances, figures, layer_fractions, response, sparsity, widths

TWO = ((2, 2), (1, 4))
CELLS = torch.tensor([[1.0, 0, 0, 2, 0, 0, 0, 1], [0, 0, 0, 0, 2, 0, 2, 0], [0] * 8])


def test_fractions_and_sparsity() -> None:
    """3 and 1 of 4; all in the second; nothing anywhere."""
    torch.testing.assert_close(layer_fractions(CELLS, TWO), torch.tensor([[0.75, 0.25], [0.0, 1.0], [0.0, 0.0]]))
    torch.testing.assert_close(sparsity(CELLS, TWO), torch.tensor([[0.5, 0.25], [0.0, 0.5], [0.0, 0.0]]))


def test_response_is_deposited_over_asked() -> None:
    torch.testing.assert_close(response(CELLS, torch.tensor([[8.0], [4.0], [1.0]])), torch.tensor([0.5, 1.0, 0.0]))
    for asked in (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0, 1.0])):
        with pytest.raises(GencoreError, match="asked"):
            response(CELLS, asked)


def test_widths_in_shares_of_the_layer() -> None:
    """Weights 1/3 and 2/3 at 1/4 and 3/4: sqrt(2) / 6 both ways. Halves at 1/8 and 5/8 along phi: 1/4; one row: 0."""
    found = widths(CELLS, TWO)
    both = 2**0.5 / 6
    expected = torch.tensor([[[both, both], [0, 0]], [[0, 0], [0, 0.25]], [[0, 0], [0, 0]]])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(widths(7 * CELLS, TWO), found)


def test_cells_must_be_those_of_the_layers() -> None:
    with pytest.raises(GencoreError, match=r"expected \(N, 8\)"):
        layer_fractions(CELLS[:, :5], TWO)


def test_distances_are_scipy_s_and_zero_for_the_same() -> None:
    a, b = torch.randn(60, 2), torch.randn(60, 2) * 2 + 1
    expected = [scipy.stats.wasserstein_distance(a[:, i], b[:, i]) for i in range(2)]
    torch.testing.assert_close(distances(a, b), torch.tensor(expected), check_dtype=False)
    assert distances(a, torch.cat([a, a])).max() < 1e-6
    with pytest.raises(GencoreError, match="columns"):
        distances(a, b[:, :1])


def test_figures_of_showers_agree_with_the_toy_s_own_summary() -> None:
    """Pions are wider and leave energy behind."""
    found = {}
    for particle in ("electromagnetic", "pion"):
        source = showers(200, particle=particle)  # type: ignore[arg-type]
        found[particle] = figures(source.x, LAYERS, source.further["energy"])
        _, fractions, hit = summary(source.x)
        torch.testing.assert_close(found[particle]["layer_fractions"], fractions)
        torch.testing.assert_close(found[particle]["sparsity"], hit)
    assert found["pion"]["response"].mean() < 0.8 < 0.9 < found["electromagnetic"]["response"].mean()
    assert (found["pion"]["widths"].mean(0) > found["electromagnetic"]["widths"].mean(0))[1].all()
