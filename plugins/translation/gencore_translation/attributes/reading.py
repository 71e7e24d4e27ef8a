"""A network that reads numbers off a picture, learned first and fixed afterwards: where papers bring a face recogniser
or a regressor of a face model's coefficients, which were trained elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gencore import Adam, Loss, Objective, Phase, Stage
from gencore.errors import GencoreError


class Reading(Objective):
    """Phase "reader": the mean squared error of the numbers `names` of a batch, from x_input, or x where there is none.

    A little noise goes on the pictures, which what is made later has, too.
    """

    def __init__(self, names: Sequence[str], *, noise: float = 0.05) -> None:
        super().__init__()
        self.names, self.noise = tuple(names), noise

    def reader(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On the pictures that the numbers are those of."""
        x = batch.get("x_input", batch["x"])
        read = model.reader(x + self.noise * torch.randn_like(x))
        wanted = numbers_of(batch, self.names)
        if read.shape != wanted.shape:
            raise GencoreError(
                f"The reader gives {read.shape[1]} numbers; the batch has {wanted.shape[1]} of {self.names}."
            )
        return Loss(F.mse_loss(read, wanted))


def numbers_of(batch: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """The keys `names` of a batch side by side, (N, count). Raises GencoreError for one that is missing."""
    if missing := [name for name in names if name not in batch]:
        raise GencoreError(
            f"The batch has the keys {sorted(batch)}; expected {missing} too, on which the reader is trained."
        )
    return torch.cat([batch[name].reshape(len(batch[name]), -1) for name in names], 1)


def reading_stage(names: Sequence[str], *, steps: int, learning_rate: float = 2e-3) -> Stage:
    """The stage "reader", on the data as they are."""
    phase = Phase(name="reader", parts=("reader",), optimizer=Adam(learning_rate=learning_rate))
    return Stage(name="reader", objective=Reading(names), phases=(phase,), steps=steps)


class Projection(nn.Module):
    """A critic's last layer that sees a condition: h'(e + w_0) + b, of features h (N, D) and an embedding e (N, D) of
    the condition (Miyato & Koyama 2018, arXiv:1802.05637, equation 3)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.common = nn.Linear(features, 1)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        """Logits (N,)."""
        return rearrange(self.common(h), "n 1 -> n") + (h * e).sum(1)
