"""A small diffusion transformer, DiT.

Peebles & Xie 2023, "Scalable Diffusion Models with Transformers", arXiv:2212.09748.

Patches as tokens, pre-normalised blocks whose shift, scale and gate come from the noise level and the label
(adaLN-Zero, section 3.2): every gate starts at 0, so that each block starts as the identity. Positions are learned.
"""

from __future__ import annotations

import dataclasses

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore.config import check
from gencore_diffusion.networks.embedding import LevelEmbedding


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DiTConfig:
    """`patch_size` divides the image's sides; `heads` divides `width`."""

    patch_size: int = 2
    width: int = 96
    depth: int = 4
    heads: int = 4

    def __post_init__(self) -> None:
        for name in ("patch_size", "width", "depth", "heads"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")
        whole = self.width % self.heads == 0 and self.width % 2 == 0
        check(whole, "width", self.width, f"an even multiple of heads ({self.heads})")


class Block(nn.Module):
    """Attention, then a two-layer network; both modulated by the embedding, both gated."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norms = nn.ModuleList([nn.LayerNorm(width, elementwise_affine=False, eps=1e-6) for _ in range(2)])
        self.query_key_value, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """x (N, L, width), embedded (N, width) -> (N, L, width)."""
        shift_a, scale_a, gate_a, shift_d, scale_d, gate_d = self.modulation(F.silu(embedded))[:, None].chunk(6, -1)
        hidden = self.norms[0](x) * (1 + scale_a) + shift_a
        parts = rearrange(self.query_key_value(hidden), "n l (p k d) -> p n k l d", p=3, k=self.heads)
        seen = F.scaled_dot_product_attention(*parts.unbind())
        x = x + gate_a * self.output(rearrange(seen, "n k l d -> n l (k d)"))
        return x + gate_d * self.dense(self.norms[1](x) * (1 + scale_d) + shift_d)


class DiT(nn.Module):
    """(x, noise level, label) -> a prediction of x's shape."""

    def __init__(
        self,
        config: DiTConfig,
        *,
        data_shape: tuple[int, int, int],
        num_classes: int | None,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        channels, height, width = data_shape
        patch = config.patch_size
        self.patch, self.grid = patch, (height // patch, width // patch)
        self.embedding = LevelEmbedding(config.width, config.width, num_classes=num_classes)
        self.stem = nn.Linear(channels * patch * patch, config.width)
        self.place = nn.Parameter(torch.randn(self.grid[0] * self.grid[1], config.width) * 0.02)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(config.width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(config.width, 2 * config.width)
        self.head = nn.Linear(config.width, (out_channels or channels) * patch * patch)
        for layer in (self.modulation, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, level: Tensor, label: Tensor | None) -> Tensor:
        """x (N, C, H, W), level (N,), label (N,) or None -> (N, out_channels, H, W), which is C where not told."""
        embedded = self.embedding(level, label)
        tokens = rearrange(x, "n c (h p) (w q) -> n (h w) (c p q)", p=self.patch, q=self.patch)
        tokens = self.stem(tokens) + self.place
        for block in self.blocks:
            tokens = block(tokens, embedded)
        shift, scale = self.modulation(F.silu(embedded))[:, None].chunk(2, -1)
        patches = self.head(self.norm(tokens) * (1 + scale) + shift)
        sizes = {"h": self.grid[0], "w": self.grid[1], "p": self.patch, "q": self.patch}
        return rearrange(patches, "n (h w) (c p q) -> n c (h p) (w q)", **sizes)
