"""CIE Lab against published values."""

from __future__ import annotations

import pytest
import torch

from gencore_representation.parts.lab import gamut_bins, lab_to_rgb, rgb_to_lab

PUBLISHED = {  # sRGB primaries and greys under D65, B. Lindbloom's calculator
    (1, 1, 1): (100.0, 0.0, 0.0),
    (-1, -1, -1): (0.0, 0.0, 0.0),
    (1, -1, -1): (53.24, 80.09, 67.20),
    (-1, 1, -1): (87.73, -86.18, 83.18),
    (-1, -1, 1): (32.30, 79.19, -107.86),
}


@pytest.mark.parametrize("rgb", PUBLISHED)
def test_published_values(rgb: tuple[int, int, int]) -> None:
    """Within 0.05."""
    lab = rgb_to_lab(torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(lab, torch.tensor(PUBLISHED[rgb]), atol=0.05, rtol=0)


def test_round_trip() -> None:
    """Within a thousandth of a level; gradients are finite at black and white."""
    x = torch.rand(3, 3, 9, 9, dtype=torch.float64) * 2 - 1
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(x)), x, atol=1e-5, rtol=0)
    ends = torch.tensor([-1.0, 1.0]).repeat(3, 1).view(1, 3, 1, 2).requires_grad_()
    rgb_to_lab(ends).sum().backward()
    assert ends.grad is not None
    assert ends.grad.isfinite().all()


def test_bins_hold_every_colour() -> None:
    """Each colour of sRGB is within half a cell of a bin; middles are multiples of 10."""
    bins = gamut_bins()
    assert (bins % 10 == 0).all()
    ab = rgb_to_lab(torch.rand(1, 3, 60, 60) * 2 - 1)[0, 1:].flatten(1).T
    assert (ab[:, None] - bins).abs().amax(2).amin(1).max() <= 5.01
