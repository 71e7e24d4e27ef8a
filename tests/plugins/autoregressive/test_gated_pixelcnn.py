"""Gated PixelCNN: no blind spot, and pictures of the class that is asked for. See test_densities.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import gencore
from gencore.data import open_source
from gencore.evaluation import train_classifier
from gencore.nn.causal_gated import GatedPixelNetwork
from gencore_autoregressive.gated_pixelcnn import GatedPixelConfig
from tests.plugins.autoregressive.densities import digits, trained
from tests.plugins.autoregressive.sight import missed


def test_there_is_no_blind_spot() -> None:
    """Where plain masked convolutions miss 10 pixels (figure 1)."""
    torch.manual_seed(1)
    gated = GatedPixelNetwork(2, 2, width=4, layers=14, first_kernel_size=3).double()
    assert missed(gated, 11, (8, 5)) == 0


def test_maps_say_where() -> None:
    """Changed at a place, they change what is said there and below, and nothing in the rows above."""
    torch.manual_seed(0)
    model = gencore.create("gated-pixelcnn", data_shape=(1, 4, 4), width=4, layers=2, input_shape=(2, 4, 4)).double()
    x, maps = torch.ones(1, 1, 4, 4).double(), torch.randn(1, 2, 4, 4).double()
    other = maps.clone()
    other[0, :, 1, 2] += 1
    with torch.no_grad():
        said = [model.conditionals(x, condition=given)[0, 0] for given in (maps, other)]
    moved = (said[0] != said[1]).any(0).flatten()
    assert not moved[:4].any()
    assert moved[6]
    assert moved[8:].any()


def test_bad_maps() -> None:
    for wrong, name in (
        ({"input_shape": (2, 4, 8)}, "input_shape"),
        ({"input_shape": (0, 8, 8)}, "input_shape"),
        ({"input_shape": (2, 8, 8), "num_classes": 3}, "num_classes"),
    ):
        with pytest.raises(gencore.GencoreError, match=name):
            GatedPixelConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.behaviour
def test_gated_pixelcnn_draws_the_class_that_is_asked_for(measured: Any) -> None:
    """Share of 200 samples that a classifier (0.967 on real digits) takes for their class. Twin: no condition.
    At seed 0 after 400 steps: 0.83, twin 0.105; after 300: 0.735, 0.09."""
    (x, label), wanted = digits("train"), torch.arange(200) % 10
    judge = train_classifier(open_source("digits"), steps=400)
    shares = []
    for classes in (10, None):
        model = trained(
            "gated-pixelcnn",
            x,
            None if classes is None else label,
            steps=350,
            seed=0,
            num_classes=classes,
            width=16,
            layers=4,
            learning_rate=6e-3,
            batch_size=32,
        )
        drawn = model.sample(200, seed=0, batch_size=200, condition=None if classes is None else wanted)
        shares.append((judge(drawn).argmax(1) == wanted).float().mean().item())
    measured(
        "gated-pixelcnn", "share of samples of their class", figure=shares[0], twin=shares[1], bar=0.65, better="higher"
    )
