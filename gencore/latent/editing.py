"""Editing along a direction of the space of codes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError
from gencore.latent.codes import in_batches


def edit(model: Any, z: Tensor, direction: Tensor, amounts: Tensor, *, condition: Tensor | None = None) -> Tensor:
    """What the model generates from one code z (...) moved along a direction of its size by each of `amounts` (A,):
    (A, *shape). `condition`: (1, ...), what a conditional model is told each time.

    Raises GencoreError for sizes that do not fit.
    """
    check(amounts.ndim == 1 and len(amounts) >= 1, "amounts' shape", tuple(amounts.shape), "(A,), one number or more")
    if direction.numel() != z.numel():
        raise GencoreError(f"The direction has {direction.numel()} numbers, the code {z.numel()}; expected equal ones.")
    moved = z[None] + amounts.view(-1, *(1,) * z.ndim).to(z) * direction.view(z.shape).to(z)[None]

    def generate(rows: Tensor) -> Any:
        told = None if condition is None else condition.expand(len(rows), *condition.shape[1:]).to(rows.device)
        return model.generate(rows, condition=told)

    return in_batches(model, generate, moved)


def axis(size: int, number: int) -> Tensor:
    """The direction along one number of a code, (size,). Raises GencoreError for a number that the code lacks."""
    check(0 <= number < size, "the number of the code", number, f"0 to {size - 1}")
    return torch.nn.functional.one_hot(torch.tensor(number), size).float()
