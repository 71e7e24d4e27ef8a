"""The layer that is the identity forwards and turns the gradient round (Ganin & Lempitsky 2015, arXiv:1409.7495)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, strength: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (strength,) = ctx.saved_tensors
        return -strength * gradient, None


def reverse_gradient(x: Tensor, strength: Tensor) -> Tensor:
    """x itself; its gradient is multiplied by -strength, a scalar tensor."""
    return _Reversal.apply(x, strength)
