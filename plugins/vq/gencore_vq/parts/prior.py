"""An autoregressive prior over a grid of codes, in raster order, by causal self-attention or as a picture's density.

p(k) = prod_i p(k_i | k_1 ... k_{i-1}, label), the second stage of van den Oord et al. 2017 (section 3.3). The paper's
prior is a PixelCNN, which DensityPrior takes as it is; a small transformer (Vaswani et al. 2017, arXiv:1706.03762,
pre-normalised) sees all codes before the current one, without a blind spot. Where a place has a code from each of
several books, all codes of the first book come first, then those of the second, the codes of a residual model from
coarse to fine; to a picture's density they are the channels of a pixel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Loss, Noise, Objective
from gencore.densities import draw_levels, picture_density
from gencore.nn.levels import from_levels

Callback = Callable[[int, int], None]


class CausalBlock(nn.Module):
    """Attention over the past and the present, then a two-layer network, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.dense_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, L, width) -> the same shape; place i depends on places up to i."""
        qkv = rearrange(self.query_key_value(self.attention_norm(x)), "n l (p h d) -> p n h l d", p=3, h=self.heads)
        query, key, value = qkv.unbind()
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.output(rearrange(seen, "n h l d -> n l (h d)"))
        return x + self.dense(self.dense_norm(x))


class CodePrior(nn.Module):
    """Logits of each code given those before it. Each book, a `books`-th of the length, has its own code embeddings."""

    def __init__(
        self, *, num_codes: int, length: int, width: int, layers: int, num_classes: int | None, books: int = 1
    ) -> None:
        super().__init__()
        assert length % books == 0
        self.length, self.num_codes, self.books = length, num_codes, books
        self.code = nn.Embedding(books * num_codes, width)
        self.start = nn.Parameter(torch.zeros(width))
        self.place = nn.Parameter(torch.randn(length, width) * 0.02)
        self.label = nn.Embedding(num_classes, width) if num_classes else None
        self.blocks = nn.Sequential(*(CausalBlock(width, heads=max(1, width // 20)) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, books * num_codes)
        nn.init.normal_(self.code.weight, 0.0, 0.02)

    def forward(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """codes (N, l) with l < length are the past -> logits (N, l + 1, K) of places 0 ... l."""
        start = self.start.expand(len(codes), 1, -1)
        place = torch.arange(codes.shape[1] + 1, device=codes.device)
        book = place // (self.length // self.books)
        x = torch.cat([start, self.code(codes + book[:-1] * self.num_codes)], 1) + self.place[: len(place)]
        if self.label is not None:
            assert label is not None
            x = x + self.label(label)[:, None]
        logits = self.logits(self.norm(self.blocks(x)))
        return rearrange(logits, "n l (b k) -> n l b k", b=self.books)[:, place, book]

    def mean_nats(self, codes: Tensor, label: Tensor | None) -> Tensor:
        """-log p a code of codes (N, *code_shape), their mean."""
        codes = codes.flatten(1)
        return code_nats(self(codes[:, :-1], label), codes).mean()

    def draw(self, noise: Noise, label: Tensor | None, temperature: float, callback: Callback | None) -> Tensor:
        """Codes, one for each stream of noise, (N, length)."""
        codes = torch.empty(noise.count, 0, dtype=torch.int64, device=noise.device)
        for place in range(self.length):
            drawn = noise.categorical(self(codes, label)[:, -1] / temperature)
            codes = torch.cat([codes, drawn[:, None]], 1)
            if callback:
                callback(place + 1, self.length)
        return codes


class DensityPrior(nn.Module):
    """The density of pictures of that system, over grids of codes: code k is level k, a book a channel. Codes have no
    order, so the system's `embedding` gives each a vector that is learned."""

    def __init__(self, system: str, code_shape: tuple[int, ...], num_codes: int, **fields: Any) -> None:
        super().__init__()
        shape = code_shape if len(code_shape) == 3 else (1, *code_shape)
        self.density = picture_density(system, data_shape=shape, levels=num_codes, **fields)

    def mean_nats(self, codes: Tensor, label: Tensor | None) -> Tensor:
        """-log p a code of codes (N, *code_shape), their mean."""
        config = self.density.config
        x = from_levels(codes.reshape(-1, *config.data_shape), config.levels)
        return -self.density.log_prob(x, condition=label).mean() / x[0].numel()

    def draw(self, noise: Noise, label: Tensor | None, temperature: float, callback: Callback | None) -> Tensor:
        """Codes, one for each stream of noise, (N, length)."""
        drawn = draw_levels(self.density, noise, condition=label, temperature=temperature, callback=callback)
        return drawn.flatten(1)


def code_nats(logits: Tensor, codes: Tensor) -> Tensor:
    """-log p of codes (N, L) under logits (N, L, K), (N, L) in nats a code."""
    return F.cross_entropy(rearrange(logits, "n l k -> n k l"), codes, reduction="none")


class CodePriorObjective(Objective):
    """Phase "prior": minimise -log p(codes of x | label), in nats a code. The autoencoder is frozen."""

    def prior(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """batch["x"], and batch["label"] where the model takes labels."""
        with torch.no_grad():
            codes = model.encode(batch["x"])
        label = model.check_label(batch.get("label"), len(codes))
        return Loss(model.prior.mean_nats(codes, label))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AncestralSampler:
    """Draw the codes one after the other from the prior, then decode. Labels are drawn evenly where none is given."""

    temperature: float = 1.0

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """One image for each stream of noise."""
        classes = model.config.num_classes
        if condition is None and classes:
            condition = noise.integers(classes)
        label = model.check_label(condition, noise.count)
        codes = model.prior.draw(noise, label, self.temperature, callback)
        return model.generate(codes.unflatten(1, model.config.code_shape))
