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
        z = model.draw_prior(noise)
        samples = model.generate(z.to(noise.dtype) if z.is_floating_point() else z, condition=condition)
        if callback:
            callback(1, 1)
        return samples
