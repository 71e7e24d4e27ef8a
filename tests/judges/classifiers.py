"""Judges that name a class: digits, showers, jets, voxels. Each is trained once a session, in a second or so."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from gencore.data import digits
from gencore.data.toys.jets import jets
from gencore.data.toys.showers import showers
from gencore.data.toys.voxels import voxels

from .training import batch_of, in_parts, noisy, trained


class Classifier(nn.Module):
    """`body` maps (N, *shape) to features (N, dim); a linear head names the class."""

    def __init__(self, body: nn.Module, dim: int, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes)."""
        return self.head(self.body(x))

    def features(self, x: Tensor) -> Tensor:
        """(N, dim) float32: what a Frechet distance is taken on."""
        return in_parts(self.body, x)

    def predict(self, x: Tensor) -> Tensor:
        """The classes, (N,) int64."""
        return in_parts(self, x).argmax(1)

    def accuracy(self, x: Tensor, label: Tensor) -> float:
        """The share of x whose class is judged as `label`, (N,) int64."""
        return (self.predict(x) == label).float().mean().item()


def _named(
    build: Callable[[], Classifier], x: Tensor, label: Tensor, *, steps: int, batch: int, seed: int, noise: float = 0.0
) -> Classifier:
    def loss(net: Classifier, step: int) -> Tensor:
        rows = batch_of(len(x), batch, seed, step)
        return F.cross_entropy(net(noisy(x[rows], noise)), label[rows])

    return trained(build, loss, steps=steps, seed=seed, lr=5e-3)


def _dense(first: int, hidden: int, dim: int, num_classes: int) -> Classifier:
    body = nn.Sequential(nn.Flatten(), nn.Linear(first, hidden), nn.ReLU(), nn.Linear(hidden, dim), nn.ReLU())
    return Classifier(body, dim, num_classes)


@functools.cache
def digit_classifier(size: int = 8, seed: int = 0) -> Classifier:
    """Of digits (N, 1, size, size), trained on the split "train"; 64 features. Accuracy on "test": test_judges."""
    source = digits("train", None if size == 8 else size)
    return _named(
        lambda: _dense(size * size, 128, 64, 10),
        source.x,
        source.label,
        steps=1200,
        batch=128,
        seed=seed,
        noise=0.8,
    )


@functools.cache
def shower_classifier(seed: int = 0) -> Classifier:
    """Of cells (N, 126) [GeV]: electromagnetic or pion."""
    source = showers(6000, seed=1000 + seed)
    return _named(lambda: _dense(126, 64, 32, 2), source.x, source.further["label"], steps=400, batch=128, seed=seed)


@functools.cache
def jet_classifier(seed: int = 0) -> Classifier:
    """Of jets (N, 15, 15) [GeV]: one prong or two."""
    source = jets(6000, seed=1000 + seed)
    return _named(lambda: _dense(225, 64, 32, 2), source.x, source.further["label"], steps=400, batch=128, seed=seed)


@functools.cache
def voxel_classifier(size: int = 12, seed: int = 0) -> Classifier:
    """Of grids (N, 1, size, size, size) in [0, 1]: box, ball, cylinder or stool; 64 features."""
    source = voxels(3000, size=size, seed=1000 + seed)

    def build() -> Classifier:
        side = (size + 3) // 4
        body = nn.Sequential(
            nn.Conv3d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv3d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(16 * side**3, 64), nn.ReLU(),
        )  # fmt: skip
        return Classifier(body, 64, 4)

    return _named(build, source.x, source.further["label"], steps=200, batch=48, seed=seed, noise=0.1)
