"""MNIST-M: how it is made, and the command on little data."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from gencore.data import digits
from gencore.errors import GencoreError
from tools import mnist_m


def photos() -> list[torch.Tensor]:
    """Two that tell their places: red grows to the right, green downwards; blue is the photograph's number."""
    down, across = torch.meshgrid(torch.arange(40) / 40, torch.arange(50) / 50, indexing="ij")
    return [torch.stack([across, down, torch.full_like(down, number)]) for number in (0.0, 1.0)]


def test_a_picture_is_the_difference_of_digit_and_patch() -> None:
    """Where the digit is 0 the patch, where it is 1 one minus the patch; patches from everywhere in both photographs,
    the same for one seed."""
    half = torch.zeros(300, 1, 8, 8)
    half[..., 4:] = 1
    found = mnist_m.blended(half, photos(), seed=3)
    left, right = found[..., :4], 1 - found[..., 4:]
    patches = torch.cat([left, right], 3)
    step = patches[:, 0, :, 1:] - patches[:, 0, :, :-1]
    torch.testing.assert_close(step, torch.full_like(step, 1 / 50))
    assert set(patches[:, 2].round(decimals=4).unique().tolist()) == {0.0, 1.0}
    assert patches[:, 0, 0, 0].min() < 0.1
    assert patches[:, 0, 0, 0].max() > 0.7
    assert torch.equal(found, mnist_m.blended(half, photos(), seed=3))
    assert not torch.equal(found, mnist_m.blended(half, photos(), seed=4))
    with pytest.raises(GencoreError, match="smallest photograph"):
        mnist_m.blended(torch.zeros(1, 1, 41, 41), photos(), seed=0)


def test_domains() -> None:
    """No digit in both; each domain's training pictures have mean 0; the test pictures lose the target's mean."""
    data = mnist_m.domains(digits(), digits("test"), 200, {"train": photos(), "test": photos()})
    assert (len(data.source), len(data.target), len(data.test)) == (100, 100, 200)
    for domain in (data.source, data.target):
        torch.testing.assert_close(domain.x.mean(0), torch.zeros(3, 8, 8), atol=1e-6, rtol=0)
    assert data.source.label is not None
    assert data.target.label is not None
    both = digits().fetch(torch.arange(200))["label"]
    assert torch.equal(torch.cat([data.source.label, data.target.label]), both)
    grey = (data.source.x[:, :1] == data.source.x).all()
    assert grey
    assert not (data.target.x[:, :1] == data.target.x).all()
    assert data.test.x.mean().abs() > 0


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Three rows with the paper's figures beside them."""
    monkeypatch.setattr(mnist_m, "photographs", lambda split: photos())
    assert mnist_m.main(["--pictures", "130", "--steps", "1", "--width", "4", "--seeds", "2"]) == 0
    out = capsys.readouterr().out
    assert [line.split(" | ")[0].strip("| ") for line in out.splitlines()[-3:]] == ["source only", "DANN", "target"]
    assert all(figure in out for figure in ("0.5225", "0.7666", "0.9596"))


def test_refusals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No scikit-image; data that are not digits."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "skimage" else found(name))
    assert mnist_m.main([]) == 1
    assert "pip install scikit-image" in capsys.readouterr().err
    monkeypatch.setattr(mnist_m, "photographs", lambda split: photos())
    assert mnist_m.main(["--data", "photos"]) == 1
    assert "expected grey ones" in capsys.readouterr().err


def test_photographs_of_scikit_image() -> None:
    """Training and test part of each, where it is installed."""
    pytest.importorskip("skimage")
    train, test = mnist_m.photographs("train"), mnist_m.photographs("test")
    assert len(train) == len(test) == len(mnist_m.PHOTOGRAPHS)
    for left, right in zip(train, test, strict=True):
        assert left.shape[:2] == right.shape[:2]
        assert 2.5 < left.shape[2] / right.shape[2] < 3.5
        assert 0 <= left.min() < left.max() <= 1
