"""Figures of merit of showers, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from gencore.data.toys.showers import LAYERS, showers, summary
from gencore.errors import GencoreError
from gencore_gan.parts.shower_figures import figures, layer_fractions, response, sparsity, widths

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


def test_figures_of_showers_agree_with_the_toy_s_own_summary() -> None:
    """Pions are wider and leave energy behind."""
    found = {}
    for particle in ("electromagnetic", "pion"):
        source = showers(200, particle=particle)  # type: ignore[arg-type]
        found[particle] = figures(source.x, LAYERS, source.further["energy"])
        _, fractions, hit = summary(source.x)
        for layer in range(len(LAYERS)):
            torch.testing.assert_close(found[particle][f"layer {layer} fraction"], fractions[:, layer])
            torch.testing.assert_close(found[particle][f"layer {layer} sparsity"], hit[:, layer])
    assert found["pion"]["response"].mean() < 0.8 < 0.9 < found["electromagnetic"]["response"].mean()
    for name in ("layer 1 width eta", "layer 1 width phi"):
        assert found["pion"][name].mean() > found["electromagnetic"][name].mean()
