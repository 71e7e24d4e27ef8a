"""The digits under a pattern."""

from __future__ import annotations

import torch

from gencore.data import digits
from gencore_adaptation.parts.marked import marked, marked_digits


def test_marked_digits() -> None:
    """x = 0.7 digit + 0.3 a P within [-1, 1], half of them marked, the test part by draws of its own."""
    source = marked_digits()
    mark = source.further["attributes"]
    assert 0.45 < mark.mean() < 0.55
    assert source.x.abs().max() <= 1
    torch.testing.assert_close(source.x, marked(digits().x, mark))
    left = (source.x - 0.7 * digits().x)[mark[:, 0] == 1]
    torch.testing.assert_close(left.abs(), torch.full_like(left, 0.3))
    assert len(marked_digits("test")) == 397
