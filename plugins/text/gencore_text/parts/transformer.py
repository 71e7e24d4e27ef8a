"""The blocks of GPT-2 and BERT (Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762).

attention(Q, K, V) = softmax(Q K^T / sqrt(d)) V, for each of the heads of size d                     (equation 1)
pre-norm    x + f(norm(x))         (GPT-2)
post-norm   norm(x + f(x))         (the paper, and BERT)
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BlockOptions:
    """`gelu`: GPT-2 takes the approximation by tanh, BERT the exact one. `eps`: of the layer norms."""

    width: int
    heads: int
    causal: bool
    pre_norm: bool
    gelu: Literal["none", "tanh"]
    eps: float
    dropout: float


class Cache:
    """The keys and values of one attention for the tokens so far."""

    def __init__(self) -> None:
        self.seen: tuple[Tensor, Tensor] | None = None

    def extended(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """With those of the next token, (N, heads, 1, d) each."""
        if self.seen is not None:
            key, value = (torch.cat(pair, 2) for pair in zip(self.seen, (key, value), strict=True))
        self.seen = key, value
        return key, value


class Attention(nn.Module):
    """Self-attention; causal: each token sees itself and those before it."""

    def __init__(self, options: BlockOptions) -> None:
        super().__init__()
        self.heads, self.causal, self.dropout = options.heads, options.causal, options.dropout
        self.queries_keys_values = nn.Linear(options.width, 3 * options.width)
        self.output = nn.Linear(options.width, options.width)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """(N, T, width) -> the same; with a cache x is the next token alone."""
        parts = rearrange(self.queries_keys_values(x), "n t (three h d) -> three n h t d", three=3, h=self.heads)
        query, key, value = parts.unbind(0)
        if cache is not None:
            key, value = cache.extended(key, value)
        dropout = self.dropout if self.training else 0.0
        causal = self.causal and cache is None
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=causal, dropout_p=dropout)
        return self.output(rearrange(seen, "n h t d -> n t (h d)"))


class Block(nn.Module):
    """Attention, then two linear layers, each around a shortcut."""

    def __init__(self, options: BlockOptions) -> None:
        super().__init__()
        width, self.pre_norm = options.width, options.pre_norm
        self.norm_1, self.norm_2 = (nn.LayerNorm(width, eps=options.eps) for _ in range(2))
        self.attention = Attention(options)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gelu, self.dropout = nn.GELU(options.gelu), nn.Dropout(options.dropout)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """(N, T, width) -> the same."""
        if self.pre_norm:
            x = x + self.dropout(self.attention(self.norm_1(x), cache))
            return x + self.dropout(self.mlp(self.norm_2(x)))
        x = self.norm_1(x + self.dropout(self.attention(x, cache)))
        return self.norm_2(x + self.dropout(self.mlp(x)))

    def mlp(self, x: Tensor) -> Tensor:
        """The two linear layers."""
        return self.down(self.gelu(self.up(x)))


def small_weights(network: nn.Module, std: float = 0.02) -> None:
    """Weights of linear layers and embeddings normal of that standard deviation, biases 0, as GPT-2 and BERT begin."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
