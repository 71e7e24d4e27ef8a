"""What corruption does to a picture."""

from __future__ import annotations

import pytest
import torch

from gencore_ae.parts.corruption import add_gaussian, corruption, mask, salt_and_pepper


def test_corruptions() -> None:
    torch.manual_seed(0)
    x = torch.full((200, 500), 0.25)
    assert (add_gaussian(x, 0.3) - x).std().item() == pytest.approx(0.3, rel=0.02)
    assert (mask(x, 0.4) == -1).float().mean().item() == pytest.approx(0.4, abs=0.01)
    dirty = salt_and_pepper(x, 0.4)
    for value, share in ((-1, 0.2), (1, 0.2), (0.25, 0.6)):
        assert (dirty == value).float().mean().item() == pytest.approx(share, abs=0.01)
    for kind in ("gaussian", "masking", "salt-and-pepper"):
        assert torch.equal(corruption(kind, 0.0)(x), x)
