"""Residual vector quantisation: each book codes what the ones before it left over.

Zeghidour et al. 2021 (SoundStream, arXiv:2107.03312), algorithm 1 and section III-C:
    r_1 = z,   q_i = nearest code of book i to r_i,   r_(i+1) = r_i - q_i,   z_q = q_1 + ... + q_S
S books of K codes name K^S points at the cost of S look-ups, and the first books alone are a coarser code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencore_vq.parts.codebook import Codebook, Quantized


class ResidualCodebook(nn.Module):
    """S codebooks in a row, moved by their latents' averages.

    `dropout`: in training, each example is decoded from its first n books, n uniform in 1 ... S (the paper's
    quantizer dropout), so that any number of books serves. All books follow their rows whatever n is: the
    deviation from the paper gives the late ones S times the data.
    """

    update = "ema"

    def __init__(self, num_codes: int, dim: int, *, books: int, dropout: bool = False) -> None:
        super().__init__()
        self.books = nn.ModuleList(Codebook(num_codes, dim, "ema") for _ in range(books))
        self.dropout = dropout

    @property
    def stages(self) -> list[Codebook]:
        """The books, in their order."""
        return [book for book in self.books if isinstance(book, Codebook)]

    def forward(self, latents: Tensor) -> Quantized:
        """latents (N, D, *places) -> codes (N, S, *places); counts (S, K), sums (S, K, D), rows (S, L, D) by book.

        `vectors` is the sum over the books that count in this pass: all of them in evaluation.
        """
        residual, found = latents.detach().float(), []
        for book in self.stages:
            found.append(book(residual))
            residual = residual - found[-1].vectors
        vectors = torch.stack([stage.vectors for stage in found])
        if self.training and self.dropout:
            depth = torch.randint(1, len(found) + 1, (len(latents),), device=latents.device)
            used = torch.arange(len(found), device=latents.device)[:, None] < depth
            vectors = vectors * used.view(*used.shape, *(1,) * (latents.ndim - 1))
        return Quantized(
            torch.stack([stage.codes for stage in found], 1),
            vectors.sum(0),
            torch.stack([stage.counts for stage in found]),
            torch.stack([stage.sums for stage in found]),
            torch.stack([stage.rows for stage in found]),
        )

    def lookup(self, codes: Tensor) -> Tensor:
        """codes (N, s, *places), s from 1 to S -> the sum of the first s books' vectors (N, D, *places)."""
        stages = zip(self.stages, codes.unbind(1), strict=False)
        return torch.stack([book.lookup(stage) for book, stage in stages]).sum(0)

    @torch.no_grad()
    def begin(self, latents: Tensor, *, iterations: int) -> None:
        """k-means for each book, on what the ones before it leave of `latents` (N, D, *places)."""
        residual = latents.float()
        for book in self.stages:
            book.begin(residual, iterations=iterations)
            residual = residual - book(residual).vectors

    def follow(self, counts: Tensor, sums: Tensor, *, decay: float) -> None:
        """Codebook.follow for each book: counts (S, K), sums (S, K, D)."""
        for stage, book in enumerate(self.stages):
            book.follow(counts[stage], sums[stage], decay=decay)

    def restart(self, candidates: Tensor, *, below: float) -> Tensor:
        """Codebook.restart for each book: candidates (S, K, D), which are residuals of that book."""
        return torch.stack(
            [book.restart(candidates[stage], below=below) for stage, book in enumerate(self.stages)]
        ).sum()
