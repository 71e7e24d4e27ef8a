"""Grey levels: exact there and back, and data between them are refused or rounded, never silently."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore.data import open_source
from gencore.nn.levels import from_levels, to_levels


@pytest.mark.parametrize("levels", [2, 3, 17, 256, 65536])
def test_there_and_back(levels: int) -> None:
    codes = torch.arange(levels)
    x = from_levels(codes, levels)
    assert (x[0], x[-1]) == (-1, 1)
    assert torch.equal(to_levels(x, levels, "nearest"), codes)
    if levels <= 256:
        assert torch.equal(to_levels(x, levels, "none"), codes)


def test_eight_bits_and_the_digits_lie_on_levels() -> None:
    bytes_ = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_levels(bytes_.float() / 127.5 - 1, 256, "none"), bytes_.long())
    digits = open_source("digits").fetch(torch.arange(50))["x"]
    assert torch.equal(to_levels(digits, 17, "none").float(), (digits + 1) * 8)


def test_between_levels() -> None:
    x = torch.tensor([-1.0, -0.26, -0.24, 0.25, 0.75, 1.0])
    with pytest.raises(gencore.GencoreError, match=r"4 of 6 values lie between the 3 levels.*-0.26.*rounding"):
        to_levels(x, 3, "none")
    assert to_levels(x, 3, "nearest").tolist() == [0, 1, 1, 1, 2, 2]
    assert to_levels(torch.tensor([0.5, -0.5]), 3, "nearest").tolist() == [2, 1]  # a half goes up


@pytest.mark.parametrize("value", [1.01, -1.01, float("nan"), float("inf")])
def test_outside(value: float) -> None:
    with pytest.raises(gencore.GencoreError, match=r"in \[-1, 1\]"):
        to_levels(torch.tensor([0.0, value]), 3, "nearest")


def test_a_model_of_digits_refuses_other_levels() -> None:
    model = gencore.create("pixelcnn", levels=16, width=4, layers=1)
    digits = open_source("digits").fetch(torch.arange(5))["x"]
    with pytest.raises(gencore.GencoreError, match="16 levels"):
        model.log_prob(digits)
    rounded = gencore.create("pixelcnn", levels=16, rounding="nearest", width=4, layers=1)
    assert rounded.log_prob(digits).shape == (5,)
    sampled = rounded.sample(3)
    assert torch.equal(from_levels(to_levels(sampled, 16, "none"), 16), sampled)
