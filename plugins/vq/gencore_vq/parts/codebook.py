"""The codebook: nearest code, straight-through gradient, exponential moving averages, restart of dead codes.

van den Oord, Vinyals & Kavukcuoglu 2017 (arXiv:1711.00937), section 3.2 and appendix A.1; the restart is that of
Dhariwal et al. 2020 (Jukebox, arXiv:2005.00341, appendix B.1). The look-up never holds the N x K distances.

Latents are (N, D, *places): images (N, D, H, W), sequences (N, D, T). With G groups a place has G codes, one for each
D / G channels, from G books (product quantisation); shapes below have the axis in brackets then.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore_kernels import nearest_code
from gencore_vq.parts.kmeans import kmeans

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
    """What the codebook makes of latents (N, D, *places), L = N times the number of places."""

    codes: Tensor
    """(N, [G,] *places) int64."""
    vectors: Tensor
    """(N, D, *places): the codes' vectors, differentiable where the codebook learns by gradient."""
    counts: Tensor
    """([G,] K) float32: how often each code was hit."""
    sums: Tensor
    """([G,] K, D / G) float32: the sum of the rows that hit each code."""
    rows: Tensor
    """([G,] L, D / G) float32: what was looked up, without gradient."""


class Codebook(nn.Module):
    """K vectors of D numbers. Under "ema" they are means of the latents they are given, kept in buffers.

    `groups`: G books of K vectors of D / G numbers; None: one book without that axis. `unit_length`: codes are points
    of the unit sphere (latents must be, too), so that the nearest one has the highest cosine.
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self, num_codes: int, dim: int, update: Update, *, groups: int | None = None, unit_length: bool = False
    ) -> None:
        super().__init__()
        self.update, self.groups, self.unit_length = update, groups, unit_length
        vectors = torch.empty(num_codes, dim) if groups is None else torch.empty(groups, num_codes, dim // groups)
        if unit_length:
            vectors = F.normalize(vectors.normal_(), dim=-1)
        else:
            vectors.uniform_(-1 / num_codes, 1 / num_codes)
        if update == "ema":
            self.register_buffer("vectors", vectors)
            self.register_buffer("counts", torch.ones(vectors.shape[:-1]))
            self.register_buffer("sums", vectors.clone())
        else:
            self.vectors = nn.Parameter(vectors)

    def forward(self, latents: Tensor) -> Quantized:
        """latents (N, D, *places) -> the nearest code at each place, the lowest index on ties."""
        rows = self.rows(latents)
        found = nearest_code(rows, self.points().detach(), returns=("counts", "sums"))
        assert found.counts is not None
        assert found.sums is not None
        codes = found.index.unflatten(-1, (latents.shape[0], *latents.shape[2:]))
        if self.groups is not None:
            codes = rearrange(codes, "g n ... -> n g ...")
        return Quantized(codes, self.lookup(codes), found.counts.to(found.sums.dtype), found.sums, rows)

    def rows(self, latents: Tensor) -> Tensor:
        """latents (N, D, *places) -> what each book looks up, ([G,] L, D / G) float32, without gradient."""
        if self.groups is None:
            return rearrange(latents.detach(), "n d ... -> (n ...) d").float()
        return rearrange(latents.detach(), "n (g d) ... -> g (n ...) d", g=self.groups).float()

    def points(self) -> Tensor:
        """The codes' vectors ([G,] K, D / G) as they are compared and decoded."""
        return F.normalize(self.vectors, dim=-1) if self.unit_length else self.vectors

    def lookup(self, codes: Tensor) -> Tensor:
        """codes (N, [G,] *places) -> vectors (N, D, *places)."""
        points = self.points()
        if self.groups is None:
            return rearrange(F.embedding(codes, points), "n ... d -> n d ...")
        first = torch.arange(self.groups, device=codes.device) * points.shape[1]
        found = F.embedding(codes + first.view(-1, *(1,) * (codes.ndim - 2)), points.flatten(0, 1))
        return rearrange(found, "n g ... d -> n (g d) ...")

    @torch.no_grad()
    def begin(self, latents: Tensor, *, iterations: int) -> None:
        """Put the codes at the k-means centres of `latents` (N, D, *places); raises what `kmeans` raises."""
        centres = kmeans(self.rows(latents), self.vectors.shape[-2], iterations=iterations)
        self.vectors.copy_(centres)
        if self.update == "ema":
            self.sums.copy_(centres)
            self.counts.fill_(1.0)

    @torch.no_grad()
    def follow(self, counts: Tensor, sums: Tensor, *, decay: float) -> None:
        """One step of the moving averages: equations 6 to 8 of appendix A.1.

        `counts` ([G,] K) and `sums` ([G,] K, D / G) are those of the whole batch, over all processes.
        """
        self.counts.lerp_(counts, 1 - decay)
        self.sums.lerp_(sums, 1 - decay)
        self.vectors.copy_(self.sums / smoothed(self.counts)[..., None])

    @torch.no_grad()
    def restart(self, candidates: Tensor, *, below: float) -> Tensor:
        """Put `candidates` ([G,] K, D / G) in the place of codes hit less than `below` on average; returns how many."""
        dead = self.counts < below
        self.vectors.copy_(torch.where(dead[..., None], candidates, self.vectors))
        self.sums.copy_(torch.where(dead[..., None], candidates, self.sums))
        self.counts.masked_fill_(dead, 1.0)
        return dead.sum()


def smoothed(counts: Tensor, eps: float = 1e-5) -> Tensor:
    """Laplace smoothing of counts (..., K) that keeps their total, so that an unused code divides by no zero."""
    total = counts.sum(-1, keepdim=True)
    return (counts + eps) / (total + counts.shape[-1] * eps) * total


def perplexity(counts: Tensor) -> Tensor:
    """exp(entropy) of the usage (..., K): 1 where one code takes all, K where all are used alike. Zero counts: 1."""
    share = counts / counts.sum(-1, keepdim=True).clamp_min(1)
    return torch.special.entr(share).sum(-1).exp()
