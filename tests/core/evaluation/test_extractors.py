"""The bundled extractor ranks damage and collapse as people do; others are known by their weights."""

from __future__ import annotations

import dataclasses
import sys
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore.data import digits
from gencore.data.toys.photos import photos
from gencore.errors import GencoreError
from gencore.evaluation import extractors
from gencore.evaluation.extractors import (
    Extractor,
    SmallNetwork,
    bundled,
    from_module,
    inception,
    numbers,
    open_extractor,
)
from gencore.evaluation.frechet import frechet_distance

BLUR = torch.tensor([1.0, 2.0, 1.0]) / 4


def blurred(x: Tensor) -> Tensor:
    """By 1 2 1 down and across."""
    weight = BLUR.outer(BLUR).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, groups=x.shape[1])


def digits_and_photographs() -> dict[str, tuple[Tensor, Tensor]]:
    """1000 digits at 16 x 16, and 400 crops that the extractor was not trained on; their classes."""
    numerals, crops = digits("all", 16), photos(400, split="test")
    assert numerals.label is not None
    order = torch.randperm(len(numerals), generator=torch.Generator().manual_seed(0))[:1000]
    return {"digits": (numerals.x[order], numerals.label[order]), "photographs": (crops.x, crops.further["label"])}


def distances(kind: str, extractor: Extractor) -> list[float]:
    """Frechet distances of half a set to the other half: as it is, slightly blurred, blurred, noise of 0.1, of 0.3,
    and half of its classes alone."""
    x, label = digits_and_photographs()[kind]
    half = len(x) // 2
    real, other = extractor.features(x[:half]), x[half:]
    noise = torch.randn(other.shape, generator=torch.Generator().manual_seed(1))
    few = other[label[half:] < (label.max() + 1) / 2]
    worse = [torch.lerp(other, blurred(other), share) for share in (0.5, 1.0)]
    worse += [(other + strength * noise).clamp(-1, 1) for strength in (0.1, 0.3)]
    return [frechet_distance(real, extractor.features(fake)) for fake in (other, *worse, few)]


@pytest.mark.parametrize("kind", ["digits", "photographs"])
def test_damage_and_collapse_are_ranked(kind: str) -> None:
    """real < slightly blurred < blurred, real < noise 0.1 < noise 0.3, real < half of the classes. Digits 0.51; 5.2,
    17.1; 1.6, 12.4; 8.5. Photographs 1.32; 3.1, 5.0; 3.9, 15.8; 33.9."""
    same, slight, strong, weak, loud, collapsed = distances(kind, bundled())
    assert 1.5 * same < slight < strong / 1.3
    assert 1.5 * same < weak < loud / 1.3
    assert 5 * same < collapsed


def test_random_weights_do_not_rank() -> None:
    """The same network untrained: of 0.0028 as it is, noise of 0.1 makes 0.0034, half of the classes 0.0103."""
    torch.manual_seed(0)
    twin = dataclasses.replace(bundled(), extract=SmallNetwork().eval())
    same, _, _, weak, _, collapsed = distances("digits", twin)
    assert weak < 1.35 * same
    assert collapsed < 4.5 * same


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
