"""What the pages' behaviour tests are judged by: held-out digits, and PCA."""

from __future__ import annotations

from typing import Any

import torch

import gencore
from gencore.data import digits

TRAIN = digits("train").fetch(torch.arange(1400))["x"].flatten(1)

TEST = digits("test").fetch(torch.arange(397))["x"]

VARIANCE = (TEST.flatten(1) - TRAIN.mean(0)).square().sum(1).mean().item()


def fit(name: str, source: Any = None, **arguments: Any) -> Any:
    return gencore.Trainer(gencore.recipe(name, **arguments), source or digits("train"), cpu=True).fit().eval()


@torch.no_grad()
def error(model: Any, seen: torch.Tensor = TEST, clean: torch.Tensor = TEST) -> float:
    """Squared error an image."""
    return (model.reconstruct(seen) - clean).square().flatten(1).sum(1).mean().item()


def principal_axes(count: int) -> torch.Tensor:
    """(D, count) of the training digits, float64."""
    return torch.linalg.svd((TRAIN - TRAIN.mean(0)).double(), full_matrices=False).Vh[:count].T


def pca_error(count: int) -> float:
    """Squared error an image of held-out digits from `count` principal components."""
    axes, centred = principal_axes(count).float(), TEST.flatten(1) - TRAIN.mean(0)
    return (centred @ axes @ axes.T - centred).square().sum(1).mean().item()


def noisy(sigma: float = 0.5) -> torch.Tensor:
    return TEST + sigma * torch.randn(TEST.shape, generator=torch.Generator().manual_seed(0))


NOISE_ENERGY = (noisy() - TEST).square().flatten(1).sum(1).mean().item()


def everything(source: Any) -> dict[str, torch.Tensor]:
    return source.fetch(torch.arange(len(source)))
