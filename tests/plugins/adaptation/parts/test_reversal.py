"""What gradient reversal does."""

from __future__ import annotations

import torch

from gencore_adaptation.parts.reversal import reverse_gradient


def test_reversal_is_the_identity_forwards() -> None:
    """And exactly -strength times the gradient backwards; once more for a gradient of that."""
    x = torch.randn(5, 3, requires_grad=True)
    y = reverse_gradient(x, torch.tensor(0.25))
    assert torch.equal(y, x)
    (slope,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
    assert torch.equal(slope, -0.25 * 3 * x**2)
    (again,) = torch.autograd.grad(slope.sum(), x)
    torch.testing.assert_close(again, 0.25**2 * 6 * x)
