"""The bundled extractor ranks damage and collapse as people do; others are known by their weights."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore.data import digits
from gencore.errors import GencoreError
from gencore.evaluation import extractors
from gencore.evaluation.extractors import bundled, from_module, inception, numbers, open_extractor
from gencore.evaluation.frechet import frechet_distance

BLUR = torch.tensor([1.0, 2.0, 1.0]) / 4


def blurred(x: Tensor, times: int) -> Tensor:
    """By 1 2 1 down and across, so many times."""
    for _ in range(times):
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), BLUR.outer(BLUR)[None, None])
    return x


def test_damage_and_collapse_are_ranked() -> None:
    """real < blurred slightly < more, real < noise 0.1 < noise 0.3, real < half of the classes, on the digits at 16 x
    16, halves of them against each other. {figures}"""
    source = digits("all", 16)
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))
    reference, other = order[:500], order[500:1000]
    assert source.label is not None
    few = other[source.label[other] < 5]
    x, extractor, noise = (
        source.x[other],
        bundled(),
        torch.randn(500, 1, 16, 16, generator=torch.Generator().manual_seed(1)),
    )
    real = extractor.features(source.x[reference])
    of = lambda fake: frechet_distance(real, extractor.features(fake))
    same = of(x)
    figures = {
        "same": same,
        "slightly blurred": of(0.5 * x + 0.5 * blurred(x, 1)),
        "blurred": of(blurred(x, 1)),
        "noise 0.1": of((x + 0.1 * noise).clamp(-1, 1)),
        "noise 0.3": of((x + 0.3 * noise).clamp(-1, 1)),
        "half": of(source.x[few]),
    }
    print(figures)
    assert figures["same"] * 1.1 < figures["slightly blurred"] < figures["blurred"] / 1.5
    assert figures["same"] * 1.1 < figures["noise 0.1"] < figures["noise 0.3"] / 1.5
    assert figures["same"] * 5 < figures["half"]


def test_pictures_of_any_size_and_colour() -> None:
    extractor = bundled()
    grey = torch.rand(3, 1, 20, 28) * 2 - 1
    features = extractor.features(grey)
    assert features.shape == (3, 64)
    torch.testing.assert_close(extractor.features(grey.expand(-1, 3, -1, -1)), features)
    torch.testing.assert_close(extractor.features(grey, batch_size=2), features, rtol=1e-4, atol=1e-4)
    assert len(extractor.sha256) == 64
    assert bundled().sha256 == extractor.sha256


def test_rounding_is_that_of_a_file() -> None:
    """Differences below half a level vanish, unless rounding is off."""
    net = nn.Flatten()
    x = torch.zeros(1, 3, 2, 2)
    assert torch.equal(from_module(net, name="n").features(x), from_module(net, name="n").features(x + 1e-4))
    free = from_module(net, name="n", rounded=False)
    assert not torch.equal(free.features(x), free.features(x + 1e-4))


def test_weights_tell_extractors_apart() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    first = from_module(net, name="mine", size=2)
    assert first.features(torch.zeros(5, 1, 8, 8)).shape == (5, 4)
    with torch.no_grad():
        net[1].bias[0] += 1
    assert from_module(net, name="mine").sha256 != first.sha256
    assert not net.training


def test_points_are_their_own_features() -> None:
    x = torch.randn(4, 2)
    assert torch.equal(numbers().features(x), x)
    with pytest.raises(GencoreError, match="at most 1024"):
        numbers().features(torch.zeros(2, 2000))


def test_bad_extractors() -> None:
    with pytest.raises(GencoreError, match="expected bundled, numbers, or inception:PATH"):
        open_extractor("vgg")
    with pytest.raises(GencoreError, match=r"gave features \(2, 3, 4, 4\)"):
        from_module(nn.Identity(), name="pictures").features(torch.zeros(2, 3, 4, 4))


class StandIn(nn.Module):
    """In the place of torch-fidelity's network: same call, few numbers."""

    def __init__(self, name: str, features: list[str], file: object) -> None:
        super().__init__()
        assert features == ["2048"]
        self.content = file.read()

    def forward(self, x: Tensor) -> tuple[Tensor]:
        assert x.dtype == torch.uint8
        assert x.shape[1] == 3
        return (x.float().flatten(1)[:, :5],)


def test_only_the_known_weights_are_fid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.pth"
    with pytest.raises(GencoreError, match="no file"):
        inception(file)
    file.write_bytes(b"others")
    with pytest.raises(GencoreError, match="would be no FID"):
        open_extractor(f"inception:{file}")
    monkeypatch.setattr(extractors, "FID_SHA256", "d74ff0ee8da3b9806b18c877dbf29bbde50b5bd8e4dad7a3a725000feb82e8f1")
    file.write_bytes(b"pass")
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(GencoreError, match=r"pip install gencore\[fid\]"):
        inception(file)
    stand_in = types.SimpleNamespace(FeatureExtractorInceptionV3=StandIn)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", stand_in)
    extractor = inception(file)
    assert extractor.is_fid
    assert extractor.features(torch.zeros(2, 1, 4, 4)).tolist() == [[128.0] * 5] * 2
