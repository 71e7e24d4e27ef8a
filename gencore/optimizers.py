"""Optimisers as configs: frozen values that a recipe can hold, compare and print."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import nn

from gencore.config import check


class OptimizerConfig(Protocol):
    """Anything that builds an optimiser over parameters."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A new optimiser."""
        ...


def _check_rates(learning_rate: float, betas: tuple[float, ...]) -> None:
    check(learning_rate > 0, "learning_rate", learning_rate, "a positive number")
    check(all(0 <= beta < 1 for beta in betas), "betas", betas, "numbers in [0, 1)")


def _in_one_pass(parameters: Iterable[nn.Parameter]) -> dict[str, Any]:
    """torch's arguments for these parameters: the step in one pass over memory, where their devices have it."""
    listed = list(parameters)
    return {"params": listed, "fused": all(p.device.type in ("cpu", "cuda") for p in listed)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Adam:
    """Kingma & Ba 2015, arXiv:1412.6980."""

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_rates(self.learning_rate, self.betas)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A torch.optim.Adam."""
        return torch.optim.Adam(**_in_one_pass(parameters), lr=self.learning_rate, betas=self.betas, eps=self.eps)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay: Loshchilov & Hutter 2019, arXiv:1711.05101."""

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        _check_rates(self.learning_rate, self.betas)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A torch.optim.AdamW."""
        return torch.optim.AdamW(
            **_in_one_pass(parameters), lr=self.learning_rate, betas=self.betas, weight_decay=self.weight_decay
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RMSprop:
    """Tieleman & Hinton 2012 (lecture 6.5); WGAN's choice. `alpha` smooths the squared gradient."""

    learning_rate: float = 5e-5
    alpha: float = 0.99

    def __post_init__(self) -> None:
        _check_rates(self.learning_rate, (self.alpha,))

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A torch.optim.RMSprop."""
        return torch.optim.RMSprop(parameters, lr=self.learning_rate, alpha=self.alpha)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SGD:
    """Stochastic gradient descent, with momentum if asked."""

    learning_rate: float = 1e-2
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _check_rates(self.learning_rate, (self.momentum,))

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A torch.optim.SGD."""
        return torch.optim.SGD(parameters, lr=self.learning_rate, momentum=self.momentum)
