"""Samplers that serve several families."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import Tensor

from gencore.noise import Noise


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PriorSampler:
    """Draw a code from the model's prior, then generate."""

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """One generated example for each stream of noise."""
        samples = model.generate(model.draw_prior(noise), condition=condition)
        if callback:
            callback(1, 1)
        return samples
