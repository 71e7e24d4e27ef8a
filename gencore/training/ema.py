"""Exponential moving averages of parameters (Polyak & Juditsky 1992, as used since Karras et al. 2018)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gencore.model import parameters_of
from gencore.recipes import EMA


class WeightAverage:
    """A running average of some of a model's parameters."""

    def __init__(self, config: EMA, model: nn.Module) -> None:
        self.config = config
        self._parameters: list[nn.Parameter] = []
        self.tensors: list[Tensor] = []
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        """Take up parameters that the model has gained; an average begins at its parameter's value."""
        known = dict(zip(self._parameters, self.tensors, strict=True))
        self._parameters = parameters_of(model, self.config.parts)
        self.tensors = [known[p] if p in known else p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        """average <- decay average + (1 - decay) parameter."""
        torch._foreach_lerp_(self.tensors, [p.detach() for p in self._parameters], 1 - self.config.decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The model carries the averages inside the `with`, its own parameters again after it."""
        own = [parameter.detach().clone() for parameter in self._parameters]
        self._copy(self.tensors)
        try:
            yield
        finally:
            self._copy(own)

    @torch.no_grad()
    def _copy(self, tensors: list[Tensor]) -> None:
        for parameter, tensor in zip(self._parameters, tensors, strict=True):
            parameter.copy_(tensor)
