"""Steps of an optimiser as a differentiable function of what they start from (Metz et al. 2017, arXiv:1611.02163).

    psi_0 = psi,   psi_{j+1} = psi_j - rate grad_psi L(psi_j)                                            (equation 7)
with each gradient a function of everything it was computed from, so that a loss of psi_k can be differentiated
through all k steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def unroll(
    module: nn.Module, loss: Callable[[Mapping[str, Tensor]], Tensor], *, steps: int, rate: float
) -> dict[str, Tensor]:
    """The parameters of `module` after `steps` of gradient descent on `loss`, by name, differentiable.

    `loss` takes parameters by name; evaluate the module with them by torch.func.functional_call. The module itself
    stays as it is. 0 steps return its parameters.
    """
    parameters: dict[str, Tensor] = dict(module.named_parameters())
    for _ in range(steps):
        slopes = torch.autograd.grad(loss(parameters), list(parameters.values()), create_graph=True)
        parameters = {
            name: value - rate * slope for (name, value), slope in zip(parameters.items(), slopes, strict=True)
        }
    return parameters


def judge_by(model: Any, parameters: Mapping[str, Tensor], x: Tensor, condition: Tensor | None = None) -> Tensor:
    """`model.judge(x)` as it would be if its critic had these parameters, by their names in the critic."""
    named = {f"model.critic.{name}": value for name, value in parameters.items()}
    return torch.func.functional_call(_Judge(model), named, (x, condition))


class _Judge(nn.Module):
    """`judge` as a forward, which is what functional_call calls."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        return self.model.judge(x, condition=condition)
