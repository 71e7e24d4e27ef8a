"""Exponential moving averages of parameters (Polyak & Juditsky 1992, as used since Karras et al. 2018)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gencore.model import parameters_of
from gencore.recipes import EMA

RAMP = 0.05
"""The half-life is at most this share of the iterations so far (Karras et al. 2022, arXiv:2206.00364, section 5): a
young average would else be made of the initial weights for the most part."""


def decay_at(config: EMA, age: int) -> float:
    """The decay of the update number `age`, from 1: that of the half-life min(configured, RAMP age)."""
    return min(config.decay, 0.5 ** (1 / (RAMP * age)))


class WeightAverage:
    """A running average of some of a model's parameters.

    `ages`: the updates that each has had, int64; with the config they tell the decay that was applied last.
    """

    def __init__(self, config: EMA, model: nn.Module) -> None:
        self.config = config
        self._parameters: list[nn.Parameter] = []
        self.tensors: list[Tensor] = []
        self.ages = torch.zeros(0, dtype=torch.int64)
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        """Take up parameters that the model has gained; an average begins at its parameter's value."""
        known = {p: place for place, p in enumerate(self._parameters)}
        parameters = parameters_of(model, self.config.parts)
        ages = [int(self.ages[known[p]]) if p in known else 0 for p in parameters]
        self.tensors = [self.tensors[known[p]] if p in known else p.detach().clone() for p in parameters]
        self._parameters, self.ages = parameters, torch.tensor(ages, dtype=torch.int64)

    @torch.no_grad()
    def update(self) -> None:
        """average <- decay average + (1 - decay) parameter, after an optimiser's step: see `decay_at`."""
        self.ages += 1
        for age in set(self.ages.tolist()):
            places = [place for place, own in enumerate(self.ages.tolist()) if own == age]
            averages = [self.tensors[place] for place in places]
            parameters = [self._parameters[place].detach() for place in places]
            torch._foreach_lerp_(averages, parameters, 1 - decay_at(self.config, age))

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
