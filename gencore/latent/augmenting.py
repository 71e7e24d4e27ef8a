"""New examples of the classes that data have, with what they were made from.

    mix      generate((1 - t) z_i + t z_j)   codes of two examples of one class, t uniform in [amount / 2, amount]
    near     generate(z_i + amount s_c e)    e standard normal, s_c the standard deviation of each number of the
                                             codes in the class of i (of all, for data without labels)
    sample   a sample given the class of i   for class-conditional models; i gives nothing else
A class-conditional model is told the class when it encodes and generates, too. Whether it is still the class that the
new example shows, only a look at it tells, or a classifier trained on such data and tested on real ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from gencore.conditions import ClassLabel
from gencore.config import check
from gencore.data.by_class import labels_of
from gencore.data.source import Source
from gencore.errors import GencoreError
from gencore.latent.codes import evaluating, mean_of
from gencore.latent.walks import lerp
from gencore.noise import Noise

Method = Literal["mix", "near", "sample"]
METHODS = ("mix", "near", "sample")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Augmented:
    """New examples `x` (N, *shape) on the CPU; positions of their parents `first` and, of mix, `second`, (N,) int64;
    of mix, `t` (N,) float32.
    """

    x: Tensor
    first: Tensor
    second: Tensor | None = None
    t: Tensor | None = None


def augment(
    model: Any,
    source: Source,
    method: Method,
    *,
    times: int = 1,
    amount: float = 0.5,
    seed: int = 0,
    batch_size: int = 64,
) -> Iterator[Augmented]:
    """`times` new examples for each of the source's, in its order, batch by batch; one depends on (seed, number) alone.

    Raises GencoreError before the first batch: a model that cannot, codes that are names (a codebook's), data without
    labels or with a class of one example where the method needs more.
    """
    check(method in METHODS, "method", method, f"one of {', '.join(METHODS)}")
    check(times >= 1, "times", times, "at least 1")
    check(amount >= 0, "amount", amount, "0 or more")
    _check_model(model, method)
    label = None if source.num_classes is None else labels_of(source)
    told = isinstance(model.condition, ClassLabel)
    if label is None and (told or method != "near"):
        raise GencoreError(f"{source.name} has no labels, which {'the model' if told else method} needs.")
    if told:
        model.check_condition(label, len(source))
    maker = _Maker(model, source, label, told, amount, seed)
    if method != "sample" and not maker.codes(torch.tensor([0])).is_floating_point():
        raise GencoreError(f"{type(model).__name__} has discrete codes, which have nothing between or near them.")
    if method == "mix":
        maker.check_classes()
    scale = maker.scales() if method == "near" else None
    parents = torch.arange(len(source)).repeat_interleave(times)
    return _batches(maker, method, parents, scale, batch_size)


def partners(label: Tensor, first: Tensor, u: Tensor) -> Tensor:
    """For each position in `first` (N,) another one of the same class, (N,) int64: evenly drawn for u (N,) uniform in
    [0, 1]. label (M,); every class asked for has two examples or more.
    """
    _, kind, counts = label.unique(return_inverse=True, return_counts=True)
    starts, order = counts.cumsum(0) - counts, kind.argsort(stable=True)
    rank = order.argsort() - starts[kind]
    own = kind[first]
    step = 1 + torch.minimum((u * (counts[own] - 1)).long(), counts[own] - 2)
    return order[starts[own] + (rank[first] + step) % counts[own]]


def default_method(model: Any, source: Source) -> Method:
    """mix where the model encodes into numbers and generates, near where the data have no labels, else sample."""
    if hasattr(model, "encode") and hasattr(model, "generate"):
        maker = _Maker(model, source, None if source.num_classes is None else labels_of(source), False, 0.0, 0)
        if maker.codes(torch.tensor([0])).is_floating_point():
            return "near" if source.num_classes is None else "mix"
    return "sample"


def _batches(
    maker: _Maker, method: Method, parents: Tensor, scale: Tensor | None, batch_size: int
) -> Iterator[Augmented]:
    for start in range(0, len(parents), batch_size):
        first = parents[start : start + batch_size]
        if method == "sample":
            yield maker.sample(first, start)
        elif scale is None:
            yield maker.mix(first, start)
        else:
            yield maker.near(first, start, scale)


@dataclasses.dataclass(frozen=True, slots=True)
class _Maker:
    model: Any
    source: Source
    label: Tensor | None
    told: bool
    amount: float
    seed: int

    def mix(self, first: Tensor, start: int) -> Augmented:
        noise, label = Noise(self.seed, start, len(first)), self.label
        assert label is not None
        drawn = noise.uniform(2)
        second, t = partners(label, first, drawn[:, 0]), self.amount * (1 + drawn[:, 1]) / 2
        one, two = self.codes(first), self.codes(second)
        z = lerp(one, two, t.view(-1, *[1] * (one.ndim - 1)).to(one))
        return Augmented(x=self.generate(z, first), first=first, second=second, t=t)

    def near(self, first: Tensor, start: int, scale: Tensor) -> Augmented:
        z = self.codes(first)
        kind = torch.zeros(len(first), dtype=torch.int64) if self.label is None else self.label[first]
        noise = Noise(self.seed, start, len(first)).normal(*z.shape[1:]).to(z)
        return Augmented(x=self.generate(z + self.amount * scale[kind] * noise, first), first=first)

    def sample(self, first: Tensor, start: int) -> Augmented:
        assert self.label is not None
        x = self.model.sample(len(first), seed=self.seed, start=start, condition=self.label[first])
        return Augmented(x=x.cpu(), first=first)

    def codes(self, rows: Tensor) -> Tensor:
        x = self.source.fetch(rows)["x"].to(self.model.device)
        with evaluating(self.model):
            return mean_of(self.model.encode(x, condition=self._condition(rows)))

    def generate(self, z: Tensor, rows: Tensor) -> Tensor:
        with evaluating(self.model):
            return mean_of(self.model.generate(z, condition=self._condition(rows))).cpu()

    def scales(self) -> Tensor:
        """The standard deviation of each number of the codes, a row a class: (classes, *code)."""
        z = torch.cat([self.codes(rows) for rows in torch.arange(len(self.source)).split(256)])
        if self.label is None:
            return z.std(0, correction=0)[None]
        empty = torch.zeros_like(z[0])
        kinds = range(int(self.label.max()) + 1)
        groups = [z[self.label == kind] for kind in kinds]
        return torch.stack([group.std(0, correction=0) if len(group) else empty for group in groups])

    def check_classes(self) -> None:
        """Raise GencoreError for a class of one example."""
        assert self.label is not None
        kinds, counts = self.label.unique(return_counts=True)
        if (counts < 2).any():
            alone = int(kinds[counts < 2][0])
            raise GencoreError(
                f"{self.source.name} has one example of class {alone}: nothing to mix it with. Use near."
            )

    def _condition(self, rows: Tensor) -> Tensor | None:
        return self.label[rows].to(self.model.device) if self.told and self.label is not None else None


def _check_model(model: Any, method: str) -> None:
    name, condition = type(model).__name__, model.condition
    if condition is not None and not isinstance(condition, ClassLabel):
        raise GencoreError(f"{name} is conditioned on {type(condition).__name__}; expected classes, or nothing.")
    if method == "sample":
        if condition is None:
            raise GencoreError(
                f"{name} is not told a class, so what it samples has none. Take a class-conditional model, or "
                "one that encodes and generates."
            )
    elif not (hasattr(model, "encode") and hasattr(model, "generate")):
        raise GencoreError(f"{name} cannot {method}: it needs both `encode` and `generate`.")
