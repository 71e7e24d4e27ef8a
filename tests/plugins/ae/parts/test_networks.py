"""Dense autoencoders: wrong shapes."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore.errors import GencoreError


def test_wrong_shapes_are_named() -> None:
    model = gencore.create("deep-autoencoder", hidden=[8], code_dim=2)
    with pytest.raises(GencoreError, match="1, 8, 8"):
        model.encode(torch.zeros(2, 1, 9, 9))
    with pytest.raises(GencoreError, match=r"\(N, 2\)"):
        model.generate(torch.zeros(4, 3))
    with pytest.raises(GencoreError, match="floating point"):
        model.encode(torch.zeros(2, 1, 8, 8, dtype=torch.int64))
