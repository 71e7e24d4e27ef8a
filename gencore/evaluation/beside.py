"""What the figures of a representation stand beside: the same network before training, and the data as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class RawData(nn.Module):
    """The encoder that does nothing: the code of an example is its own numbers."""

    device = torch.device("cpu")

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, ...) -> (N, D), the axes after the first laid end to end."""
        return x.flatten(1)


def with_baselines(model: Any, *, seed: int = 0) -> tuple[tuple[str, Any], ...]:
    """(name, encoder) three times: the model, a network of its config with weights drawn from `seed`, raw data.

    The global random state stays as it is.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        untrained = type(model)(model.config).to(model.device)
    return ("trained", model), ("random weights", untrained), ("raw data", RawData())
