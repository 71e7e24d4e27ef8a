"""What the behaviour tests of this folder train on, and how."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

import gencore
from gencore.data import InMemory, digits
from gencore_vae.parts.binary import binarize


@functools.cache
def grey(split: str) -> Tensor:
    """The 8 x 8 digits of a split, (N, 1, 8, 8)."""
    source = digits(split)  # type: ignore[arg-type]
    return source.fetch(torch.arange(len(source)))["x"]


def binary(split: str) -> Tensor:
    """The digits made binary by a threshold."""
    return binarize(grey(split), "threshold")


def train(recipe: gencore.Recipe, x: Tensor) -> Any:
    """The trained model, in evaluation mode."""
    return gencore.Trainer(recipe, InMemory(x=x), cpu=True).fit().eval()


def mean_bound(model: Any, x: Tensor, k: int) -> float:
    """Nats per example."""
    return model.bound(x, k).mean().item()
