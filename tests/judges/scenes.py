"""The judges of scenes: the layout and the weather off a picture."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore.data.toys.scenes import ATTRIBUTES, CLASSES, scenes

from .training import batch_of, in_parts, noisy, trained


class SceneJudge(nn.Module):
    """Pictures (N, 3, 16, 16) in [-1, 1] to classes by pixel, and to weather."""

    def __init__(self) -> None:
        super().__init__()
        self.layout = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 24, 5, padding=2), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 4 * 16, 3, padding=1), nn.PixelShuffle(2),
        )  # fmt: skip
        self.classes = nn.Sequential(nn.ReLU(), nn.Conv2d(16 + 3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 3, 1))
        self.weather = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, len(ATTRIBUTES)),
        )  # fmt: skip

    def by_pixel(self, x: Tensor) -> Tensor:
        """Logits of the classes, (N, 3, 16, 16)."""
        return self.classes(torch.cat([self.layout(x), x], dim=1))

    def predict(self, x: Tensor) -> dict[str, Tensor]:
        """layout (N, 16, 16) int64, an index into CLASSES; attributes (N, 3), the probabilities of ATTRIBUTES."""
        return {
            "layout": in_parts(self.by_pixel, x).argmax(1),
            "attributes": in_parts(self.weather, x).sigmoid(),
        }


@functools.cache
def scene_judge(seed: int = 0, steps: int = 500) -> SceneJudge:
    """Trained on layouts and weather that are independent of each other."""
    source = scenes(12_000, seed=1000 + seed)

    def loss(net: SceneJudge, step: int) -> Tensor:
        rows = batch_of(len(source), 32, seed, step)
        x = noisy(source.x[rows], 0.02)
        by_pixel = F.cross_entropy(net.by_pixel(x), source.further["x_input"][rows].argmax(1))
        return by_pixel + F.binary_cross_entropy_with_logits(net.weather(x), source.further["attributes"][rows])

    return trained(SceneJudge, loss, steps=steps, seed=seed, lr=5e-3)


def intersection_over_union(predicted: Tensor, layout: Tensor) -> dict[str, float]:
    """Of each class: predicted (N, 16, 16) int64 against one-hot layouts (N, 3, 16, 16)."""
    scores = {}
    for number, name in enumerate(CLASSES):
        here, there = predicted == number, layout[:, number] > 0.5
        scores[name] = ((here & there).sum() / (here | there).sum()).item()
    return scores
