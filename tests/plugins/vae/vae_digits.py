"""What the behaviour tests of this folder train on, and how."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

import gencore
from gencore.data import InMemory, digits
from gencore.evaluation.features import train_classifier
from gencore_vae.parts.binary import binarize

TRAIN = digits("train").fetch(torch.arange(1400))
TEST = digits("test").fetch(torch.arange(397))


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


def independent_pixels() -> float:
    """log p of the test digits when each pixel is a coin of its own: -24.5."""
    share = ((binary("train") + 1) / 2).mean(0).clamp(1 / 1400, 1 - 1 / 1400)
    pixels = (binary("test") + 1) / 2
    return (pixels * share.log() + (1 - pixels) * (1 - share).log()).flatten(1).sum(1).mean().item()


@functools.cache
def bernoulli_vae() -> Any:
    return train(gencore.recipe("bernoulli-vae", steps=1500, binarization="none"), binary("train"))


def principal_components(dims: int) -> tuple[float, float]:
    """Probabilistic PCA of the grey digits (Tipping & Bishop 1999): its noise, and log p of the test digits."""
    x, test = grey("train").flatten(1), grey("test").flatten(1)
    mean = x.mean(0)
    _, singular, axes = torch.linalg.svd(x - mean, full_matrices=False)
    variances = singular.square() / len(x)
    noise = variances[dims:].mean()
    loadings = axes[:dims].T * (variances[:dims] - noise).sqrt()
    covariance = loadings @ loadings.T + noise * torch.eye(64)
    log_prob = torch.distributions.MultivariateNormal(mean, covariance).log_prob(test)
    return noise.sqrt().item(), log_prob.mean().item()


@functools.cache
@torch.enable_grad()
def judge() -> Any:
    """A classifier of the training digits; right on 97 % of the test digits."""
    return train_classifier(digits("train"))


def share_of(x: Tensor, label: Tensor) -> float:
    """The share of images that the judge gives these labels."""
    with torch.no_grad():
        return (judge()(x).argmax(1) == label).float().mean().item()


@torch.no_grad()
def accuracy(model: Any) -> float:
    """Of the model's own judgement, on the test digits."""
    return (model.judge(TEST["x"]).argmax(1) == TEST["label"]).float().mean().item()
