"""The codebook against the paper's equations, to the bit where they are exact."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange

from gencore_vq.parts.codebook import Codebook, perplexity, smoothed


def codebook(num_codes: int = 8, dim: int = 3, update: str = "ema") -> Codebook:
    torch.manual_seed(0)
    made = Codebook(num_codes, dim, update)
    made.vectors.data.copy_(torch.randn(num_codes, dim))
    return made


def test_nearest_code_and_ties() -> None:
    book = codebook()
    book.vectors[5] = book.vectors[2]
    latents = torch.randn(2, 3, 4, 5)
    quantized = book(latents)
    flat = rearrange(latents, "n d h w -> (n h w) d")
    best = torch.cdist(flat.double(), book.vectors.double()).argmin(1)
    assert torch.equal(quantized.codes.flatten(), best)
    exact = book(rearrange(book.vectors, "k d -> k d 1 1"))
    assert exact.codes.flatten().tolist() == [0, 1, 2, 3, 4, 2, 6, 7]
    assert torch.equal(quantized.counts, best.bincount(minlength=8).float())
    sums = torch.zeros(8, 3).index_add(0, best, flat)
    torch.testing.assert_close(quantized.sums, sums)


def test_average_without_memory_is_one_step_of_k_means() -> None:
    book = codebook()
    latents = torch.randn(16, 3, 4, 4)
    quantized = book(latents)
    book.follow(quantized.counts, quantized.sums, decay=0.0)
    flat, codes = rearrange(latents, "n d h w -> (n h w) d"), quantized.codes.flatten()
    for code in range(8):
        torch.testing.assert_close(book.vectors[code], flat[codes == code].mean(0), atol=1e-5, rtol=1e-4)


def test_average_remembers() -> None:
    book = codebook(2, 1)
    book.sums.fill_(3.0)
    book.follow(torch.tensor([4.0, 0.0]), torch.tensor([[8.0], [0.0]]), decay=0.5)
    torch.testing.assert_close(book.counts, torch.tensor([2.5, 0.5]))
    torch.testing.assert_close(book.vectors, torch.tensor([[5.5 / 2.5], [1.5 / 0.5]]), atol=1e-3, rtol=1e-3)


def test_restart_replaces_dead_codes_only() -> None:
    book = codebook(4, 3)
    book.counts.copy_(torch.tensor([5.0, 0.1, 0.6, 0.0]))
    before, candidates = book.vectors.clone(), torch.full((4, 3), 9.0)
    assert book.restart(candidates, below=0.5).item() == 2
    assert torch.equal(book.vectors[[0, 2]], before[[0, 2]])
    assert torch.equal(book.vectors[[1, 3]], candidates[[1, 3]])
    assert torch.equal(book.counts, torch.tensor([5.0, 1.0, 0.6, 1.0]))
    assert torch.equal(book.sums[1], candidates[1])


def test_smoothing_and_perplexity() -> None:
    counts = torch.tensor([0.0, 2.0, 6.0])
    assert smoothed(counts).sum().item() == pytest.approx(8.0)
    assert smoothed(counts)[0] > 0
    assert perplexity(torch.ones(64)).item() == pytest.approx(64)
    assert perplexity(torch.tensor([5.0, 0, 0])).item() == pytest.approx(1)
    assert perplexity(torch.zeros(4)).item() == pytest.approx(1)
