"""The codebook: nearest code, straight-through gradient, exponential moving averages, restart of dead codes.

van den Oord, Vinyals & Kavukcuoglu 2017 (arXiv:1711.00937), section 3.2 and appendix A.1; the restart is that of
Dhariwal et al. 2020 (Jukebox, arXiv:2005.00341, appendix B.1). The look-up never holds the N x K distances.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from gencore_kernels import nearest_code

Update = Literal["ema", "gradient"]


class StraightThrough(torch.autograd.Function):
    """Forward the code, backward the identity: d loss / d latents = d loss / d vectors, to the bit."""

    @staticmethod
    def forward(ctx: Any, latents: Tensor, vectors: Tensor) -> Tensor:
        """Both (..., D); the vectors pass."""
        return vectors.view_as(vectors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The whole gradient to the latents, none to the codebook."""
        return gradient, None


class Quantized(NamedTuple):
    """What the codebook makes of latents (N, D, H, W)."""

    codes: Tensor
    """(N, H, W) int64."""
    vectors: Tensor
    """(N, D, H, W): the codes' vectors, differentiable where the codebook learns by gradient."""
    counts: Tensor
    """(K,) float32: how often each code was hit."""
    sums: Tensor
    """(K, D) float32: the sum of the latents that hit each code."""


class Codebook(nn.Module):
    """K vectors of D numbers. Under "ema" they are means of the latents they are given, kept in buffers."""

    def __init__(self, num_codes: int, dim: int, update: Update) -> None:
        super().__init__()
        vectors = torch.empty(num_codes, dim).uniform_(-1 / num_codes, 1 / num_codes)
        if update == "ema":
            self.register_buffer("vectors", vectors)
            self.register_buffer("counts", torch.ones(num_codes))
            self.register_buffer("sums", vectors.clone())
        else:
            self.vectors = nn.Parameter(vectors)

    def forward(self, latents: Tensor) -> Quantized:
        """latents (N, D, H, W) -> the nearest code at each place, the lowest index on ties."""
        n, _, height, width = latents.shape
        flat = rearrange(latents.detach(), "n d h w -> (n h w) d").float()
        found = nearest_code(flat, self.vectors.detach(), returns=("counts", "sums"))
        codes = rearrange(found.index, "(n h w) -> n h w", n=n, h=height, w=width)
        return Quantized(codes, self.lookup(codes), found.counts.to(found.sums.dtype), found.sums)

    def lookup(self, codes: Tensor) -> Tensor:
        """codes (N, H, W) -> vectors (N, D, H, W)."""
        return rearrange(nn.functional.embedding(codes, self.vectors), "n h w d -> n d h w")

    @torch.no_grad()
    def follow(self, counts: Tensor, sums: Tensor, *, decay: float) -> None:
        """One step of the moving averages: equations 6 to 8 of appendix A.1.

        `counts` (K,) and `sums` (K, D) are those of the whole batch, over all processes.
        """
        self.counts.lerp_(counts, 1 - decay)
        self.sums.lerp_(sums, 1 - decay)
        self.vectors.copy_(self.sums / smoothed(self.counts)[:, None])

    @torch.no_grad()
    def restart(self, candidates: Tensor, *, below: float) -> Tensor:
        """Put `candidates` (K, D) in the place of codes whose average count is under `below`; returns how many."""
        dead = self.counts < below
        self.vectors.copy_(torch.where(dead[:, None], candidates, self.vectors))
        self.sums.copy_(torch.where(dead[:, None], candidates, self.sums))
        self.counts.masked_fill_(dead, 1.0)
        return dead.sum()


def smoothed(counts: Tensor, eps: float = 1e-5) -> Tensor:
    """Laplace smoothing of counts (K,) that keeps their total, so that an unused code divides by no zero."""
    total = counts.sum()
    return (counts + eps) / (total + len(counts) * eps) * total


def perplexity(counts: Tensor) -> Tensor:
    """exp(entropy) of the usage (K,): 1 where one code takes all, K where all are used alike. Zero counts: 1."""
    share = counts / counts.sum().clamp_min(1)
    return torch.special.entr(share).sum().exp()
