"""Two moons."""

from __future__ import annotations

import torch

from gencore.data import open_source
from gencore_adaptation.parts.moons import half_circles, moons, turned


def test_moons_are_half_circles() -> None:
    """Without noise: radius 1 about each middle; as many of both; the target turned by 35 degrees, other points."""
    plain = half_circles(noise=0.0)
    assert plain.label is not None
    points = plain.x + torch.tensor([0.5, 0.25])
    upper, lower = points[plain.label == 0], points[plain.label == 1]
    torch.testing.assert_close(upper.norm(dim=1), torch.ones(300))
    torch.testing.assert_close((lower - torch.tensor([1.0, 0.5])).norm(dim=1), torch.ones(300))
    assert (upper[:, 1] >= 0).all()
    assert (lower[:, 1] <= 0.5).all()
    back = turned(half_circles(degrees=35.0, noise=0.0).x, -35.0)
    torch.testing.assert_close(back, plain.x)
    torch.testing.assert_close(turned(torch.tensor([[1.0, 0.0]]), 90.0), torch.tensor([[0.0, 1.0]]), atol=1e-6, rtol=0)


def test_two_domains_by_name() -> None:
    """The target has no labels; splits differ."""
    source = open_source("moons")
    batch = source.fetch(torch.arange(5))
    assert sorted(batch) == ["index", "index_b", "label", "x", "x_b"]
    assert not torch.equal(batch["x"], moons("test").fetch(torch.arange(5))["x"])
