"""Drawing a text token by token, from what is left of each distribution.

temperature     p_k ~ exp(logit_k / temperature)
top_k           the k likeliest tokens                   (Fan, Lewis & Dauphin 2018, arXiv:1805.04833)
top_p           the fewest tokens whose mass is at least p (Holtzman et al. 2020, arXiv:1904.09751, equation 3)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError
from gencore.noise import Noise


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """logits (N, K): all but the k largest of each row become -infinity; of equal ones at the border all stay."""
    least = logits.topk(min(k, logits.shape[-1]), -1).values[..., -1:]
    return logits.masked_fill(logits < least, -math.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """logits (N, K): -infinity outside the smallest set of likeliest tokens with mass >= p, never empty."""
    ordered, order = logits.sort(-1, descending=True)
    mass = ordered.softmax(-1)
    enough = mass.cumsum(-1) - mass >= p
    enough[..., 0] = False
    return logits.masked_fill(torch.zeros_like(enough).scatter(-1, order, enough), -math.inf)


def choose(logits: Tensor, noise: Noise, temperature: float, top_k: int | None, top_p: float | None) -> Tensor:
    """logits (N, K) -> a draw, (N,) int64; at temperature 0 the likeliest. The temperature comes first."""
    if not temperature:
        return logits.argmax(-1)
    logits = logits / temperature
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    return noise.categorical(logits if top_p is None else keep_top_p(logits, top_p))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AncestralSampler:
    """Every token from its distribution given those before it, after the prompt if there is one.

    `temperature`: 0 takes the likeliest token. `top_k`, `top_p`: None for all of them. `prompt`: how every text begins,
    in the model's vocabulary. `cached`: without, the network runs over all tokens so far for each, to the same end.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    prompt: str = ""
    cached: bool = True

    def __post_init__(self) -> None:
        check(0 <= self.temperature < math.inf, "temperature", self.temperature, "a finite number, 0 or more")
        check(self.top_k is None or self.top_k >= 1, "top_k", self.top_k, "none, or at least 1")
        check(self.top_p is None or 0 < self.top_p <= 1, "top_p", self.top_p, "none, or a number in (0, 1]")

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """(N, T, K) one-hot, as long as the data. Raises GencoreError for a prompt that is longer."""
        length, size = model.config.data_shape
        prompt = model.written(self.prompt) if self.prompt else torch.empty(0, dtype=torch.int64)
        if len(prompt) > length:
            raise GencoreError(f"prompt has {len(prompt)} tokens; expected at most {length}, all of an example.")
        tokens = torch.full((noise.count, 1), size - 1, dtype=torch.int64, device=model.device)
        step = model.steps(noise.count) if self.cached else None
        for place in range(length):
            logits = model.logits(tokens)[:, -1] if step is None else step(tokens[:, -1])
            given = place < len(prompt)
            token = (
                prompt[place].expand(noise.count)
                if given
                else choose(logits, noise, self.temperature, self.top_k, self.top_p)
            )
            tokens = torch.cat([tokens, token[:, None].to(tokens)], 1)
            if callback:
                callback(place + 1, length)
        return model.one_hot(tokens[:, 1:])
