"""Backbones by name: what is asked of timm, and what is refused. timm itself is used where it can be imported."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
from torch import nn

import gencore
from gencore.errors import GencoreError
from gencore_representation.parts.backbones import timm_encoder


class Net(nn.Module):
    """Features of as many numbers as it is told; knows pictures of 8 pixels and more."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, features, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A stand-in for timm with the networks "net", "fixed" and "wide"; what it was asked for."""
    asked: dict[str, Any] = {}

    def create_model(name: str, **options: Any) -> nn.Module:
        asked[name] = options
        return Net(options["in_chans"], options["num_classes"] + (name == "wide"))

    timm: Any = types.ModuleType("timm")
    timm.__version__ = "0"
    timm.is_model = lambda name: name in ("net", "fixed", "wide")
    timm.get_pretrained_cfg = lambda name: types.SimpleNamespace(fixed_input_size=name == "fixed")
    timm.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", timm)
    return asked


@pytest.mark.parametrize("system", ["rotation-prediction", "exemplar-networks", "egomotion", "context-encoder"])
def test_systems_take_it(asked: dict[str, Any], system: str) -> None:
    """Untrained, with the data's channels and the code's numbers."""
    model: Any = gencore.create(system, data_shape=(3, 16, 16), code_dim=5, backbone="timm:net")
    assert isinstance(model.encoder, Net)
    assert model.encoder.training
    assert model.encode(torch.zeros(2, 3, 16, 16)).shape == (2, 5)
    assert asked["net"] == {"pretrained": False, "in_chans": 3, "num_classes": 5}


def test_patches_take_it(asked: dict[str, Any]) -> None:
    """Context prediction encodes patches."""
    model: Any = gencore.create("context-prediction", code_dim=5, backbone="timm:net")
    assert model.encode(torch.zeros(2, 3, 32, 32)).shape == (2, 45)


def test_a_fixed_size_is_told(asked: dict[str, Any]) -> None:
    """As vision transformers need it."""
    timm_encoder("timm:fixed", (1, 16, 16), code_dim=3)
    assert asked["fixed"]["img_size"] == 16


def test_refusals(asked: dict[str, Any]) -> None:
    """Names that timm lacks, weights from elsewhere, features of another size, pictures too small, vectors."""
    with pytest.raises(GencoreError, match="no network 'nett'"):
        timm_encoder("timm:nett", (1, 16, 16), code_dim=3)
    for name in ("timm:hf-hub:a/b", "timm:", "resnet18", "timm:../net"):
        with pytest.raises(GencoreError, match="backbone is"):
            gencore.recipe("rotation-prediction", backbone=name)
    with pytest.raises(GencoreError, match=r"\(2, 4\) for two pictures"):
        timm_encoder("timm:wide", (1, 16, 16), code_dim=3)
    with pytest.raises(GencoreError, match="does not take pictures"):
        timm_encoder("timm:net", (1, 4, 4), code_dim=3)
    with pytest.raises(GencoreError, match="pictures"):
        timm_encoder("timm:net", (16,), code_dim=3)
    with pytest.raises(GencoreError, match="every place"):
        gencore.recipe("colorization", backbone="timm:net")


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install, and that the small one does without."""
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(GencoreError, match=r'pip install "timm.*"small"'):
        gencore.create("rotation-prediction", backbone="timm:resnet18")


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_timm_itself(name: str) -> None:
    """Codes of the right shape, which depend on the picture, and a gradient back to it."""
    pytest.importorskip("timm", exc_type=ImportError)
    model: Any = gencore.create("rotation-prediction", data_shape=(1, 32, 32), code_dim=6, backbone=f"timm:{name}")
    x = torch.randn(3, 1, 32, 32, requires_grad=True)
    z = model.encode(x)
    assert z.shape == (3, 6)
    assert z.std(0).min() > 0
    z.square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
