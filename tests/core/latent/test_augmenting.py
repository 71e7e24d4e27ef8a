"""New examples of the classes there are: with a model whose codes are the data, every one is known by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.conditions import ClassLabel, Condition
from gencore.config import ModelConfig
from gencore.data import InMemory
from gencore.errors import GencoreError
from gencore.latent.augmenting import Augmented, augment, default_method, partners


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlainConfig(ModelConfig):
    classes: int = 0


class Plain(gencore.Model):
    """The code is the data; told a class, it adds it when it encodes and takes it away when it generates."""

    config_class = PlainConfig
    config: PlainConfig

    @property
    def condition(self) -> Condition | None:
        return ClassLabel(count=self.config.classes) if self.config.classes else None

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return x if condition is None else x + condition[:, None]

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return z if condition is None else z - condition[:, None]

    def draw_prior(self, noise: Any) -> Tensor:
        return noise.normal(2)


@pytest.fixture
def source() -> InMemory:
    """Twelve points: class k around 10 k."""
    label = torch.tensor([0, 1, 2, 0, 1, 2, 2, 2, 1, 0, 0, 2])
    noise = torch.rand(12, 2, generator=torch.Generator().manual_seed(0))
    return InMemory(x=10.0 * label[:, None] + noise, label=label, num_classes=3)


def all_of(batches: Any) -> Augmented:
    made = list(batches)

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in made]
        return None if values[0] is None else torch.cat(values)

    return Augmented(**{name: joined(name) for name in ("x", "first", "second", "t")})


def test_partners_are_all_the_others_of_the_class() -> None:
    """Each with equal chances; never itself, whatever u, 1 too."""
    label = torch.tensor([5, 0, 5, 5, 0, 5])
    first = torch.full((3000,), 2)
    found = partners(label, first, torch.linspace(0, 1, 3000))
    assert found.bincount(minlength=6).tolist() == pytest.approx([1000, 0, 0, 1000, 0, 1000], abs=2)
    assert partners(label, torch.tensor([1, 4]), torch.tensor([0.3, 1.0])).tolist() == [4, 1]


def test_mixtures_lie_between_two_of_a_class(source: InMemory) -> None:
    made = all_of(augment(Plain(PlainConfig()), source, "mix", times=3, amount=0.4, seed=1))
    assert made.second is not None
    assert made.t is not None
    assert source.label is not None
    assert made.first.tolist() == [i for i in range(12) for _ in range(3)]
    assert (source.label[made.first] == source.label[made.second]).all()
    assert (made.first != made.second).all()
    assert 0.2 <= made.t.min() < made.t.max() <= 0.4
    expected = (1 - made.t[:, None]) * source.x[made.first] + made.t[:, None] * source.x[made.second]
    torch.testing.assert_close(made.x, expected)


def test_no_batch_changes_an_example(source: InMemory) -> None:
    for method in ("mix", "near", "sample"):
        model = Plain(PlainConfig(classes=3))
        whole, parts = (
            all_of(augment(model, source, method, times=2, seed=4, batch_size=size))  # type: ignore[arg-type]
            for size in (64, 5)
        )
        assert torch.equal(whole.x, parts.x), method
        assert not torch.equal(whole.x, all_of(augment(model, source, method, times=2, seed=5)).x)  # type: ignore[arg-type]


def test_near_is_as_wide_as_the_class(source: InMemory) -> None:
    """In units of the class' own deviation, not of all the data's; of all, where there are no labels."""
    model = Plain(PlainConfig())
    made = all_of(augment(model, source, "near", times=500, amount=0.5))
    assert source.label is not None
    for kind in range(3):
        own = source.label == kind
        moved = (made.x - source.x[made.first])[source.label[made.first] == kind]
        torch.testing.assert_close(moved.std(0), 0.5 * source.x[own].std(0, correction=0), rtol=0.06, atol=0)
    plain = InMemory(x=source.x)
    moved = all_of(augment(model, plain, "near", times=500, amount=0.5)).x - source.x.repeat_interleave(500, 0)
    torch.testing.assert_close(moved.std(0), 0.5 * source.x.std(0, correction=0), rtol=0.05, atol=0)


def test_a_conditional_model_is_told_the_class(source: InMemory) -> None:
    """Samples are of the parents' classes, as Model.sample draws them; what encodes is told and tells again."""
    model = Plain(PlainConfig(classes=3))
    made = all_of(augment(model, source, "sample", times=2, seed=3, batch_size=7))
    assert source.label is not None
    told = source.label.repeat_interleave(2)
    assert torch.equal(made.x, model.sample(24, seed=3, condition=told))
    mixed = all_of(augment(model, source, "mix", seed=1))
    assert torch.allclose(mixed.x, all_of(augment(Plain(PlainConfig()), source, "mix", seed=1)).x, atol=1e-5)


def test_default_methods(source: InMemory) -> None:
    assert default_method(Plain(PlainConfig()), source) == "mix"
    assert default_method(Plain(PlainConfig()), InMemory(x=source.x)) == "near"
    assert default_method(gencore.create("cgan", hidden=(8,)), gencore.data.digits("test")) == "sample"
    vq = gencore.from_pretrained("vq-vae-mnist")
    assert default_method(vq, gencore.data.digits("test", image_size=32)) == "sample"


def test_refusals(source: InMemory) -> None:
    plain = Plain(PlainConfig())
    lonely = InMemory(x=torch.zeros(3, 2), label=torch.tensor([0, 0, 1]), num_classes=2)
    for words, message in (
        ((plain, InMemory(x=source.x), "mix"), "no labels"),
        ((plain, source, "sample"), "not told a class"),
        ((plain, lonely, "mix"), "one example of class 1"),
        ((plain, source, "paste"), "method"),
        ((Plain(PlainConfig(classes=2)), source, "near"), "classes as integers from 0 to 1"),
        ((gencore.create("gan", hidden=(8,)), source, "mix"), "needs both"),
        ((gencore.create("gan-cls"), source, "sample"), "conditioned on Tokens"),
    ):
        with pytest.raises(GencoreError, match=message):
            augment(*words)  # type: ignore[arg-type]
    with pytest.raises(GencoreError, match="times"):
        augment(plain, source, "mix", times=0)
    vq = gencore.from_pretrained("vq-vae-mnist")
    for method in ("mix", "near"):
        with pytest.raises(GencoreError, match="discrete codes"):
            augment(vq, gencore.data.digits("test", image_size=32), method)  # type: ignore[arg-type]
