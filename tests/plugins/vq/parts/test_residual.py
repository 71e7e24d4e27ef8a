"""The residual codebook against brute force, to the bit where it is exact."""

from __future__ import annotations

import torch
from einops import rearrange

from gencore_vq.parts.residual import ResidualCodebook
from tests.plugins.vq.codebooks import brute_force, spread


def residual_books(dropout: bool = False) -> ResidualCodebook:
    made = ResidualCodebook(8, 3, books=3, dropout=dropout)
    for stage, book in enumerate(made.books):
        spread(book, seed=stage)
    return made


def test_residual_codes_what_is_left_over() -> None:
    books = residual_books()
    latents = torch.randn(5, 3, 4, 4)
    quantized = books.eval()(latents)
    residual = rearrange(latents, "n d h w -> (n h w) d")
    total = torch.zeros_like(residual)
    for stage, book in enumerate(books.books):
        code = brute_force(residual, book.vectors)
        assert torch.equal(quantized.codes[:, stage].flatten(), code)
        torch.testing.assert_close(quantized.rows[stage], residual)
        assert torch.equal(quantized.counts[stage], code.bincount(minlength=8).float())
        residual, total = residual - book.vectors[code], total + book.vectors[code]
        partial = books.lookup(quantized.codes[:, : stage + 1])
        torch.testing.assert_close(partial, rearrange(total, "(n h w) d -> n d h w", n=5, h=4))
    assert torch.equal(books.lookup(quantized.codes), quantized.vectors)


def test_book_dropout_decodes_a_prefix_in_training_only() -> None:
    books = residual_books(dropout=True)
    latents = torch.randn(200, 3, 2)
    torch.manual_seed(0)
    dropped, whole = books.train()(latents), books.eval()(latents)
    assert torch.equal(dropped.codes, whole.codes)
    prefixes = torch.stack([books.lookup(whole.codes[:, :depth]) for depth in (1, 2, 3)])
    matches = (dropped.vectors - prefixes).abs().flatten(2).amax(2) < 1e-6
    assert torch.equal(matches.sum(0), torch.ones(200, dtype=torch.int64))
    assert (matches.sum(1) > 40).all(), "each depth is drawn for about a third of the examples"
    torch.testing.assert_close(whole.vectors, prefixes[2])


def test_residual_averages_are_k_means_on_each_books_rows() -> None:
    books = residual_books()
    quantized = books(torch.randn(30, 3, 4))
    books.follow(quantized.counts, quantized.sums, decay=0.0)
    for stage, book in enumerate(books.books):
        codes = quantized.codes[:, stage].flatten()
        for code in codes.unique():
            mean = quantized.rows[stage][codes == code].mean(0)
            torch.testing.assert_close(book.vectors[code], mean, atol=1e-5, rtol=1e-4)


def test_each_residual_book_begins_at_what_is_left_over() -> None:
    """Points 10 a + b for a, b of two values each: book 1 finds the 10 a (and mean b), book 2 the b."""
    coarse, fine = torch.tensor([-10.0, 10.0]), torch.tensor([-1.0, 1.0])
    points = (coarse[:, None] + fine).flatten().repeat(8)[:, None, None].expand(-1, 2, 1)
    book = ResidualCodebook(2, 2, books=2)
    torch.manual_seed(0)
    book.begin(points, iterations=10)
    torch.testing.assert_close(book.eval()(points).vectors, points)
    assert book.books[1].vectors.abs().max() < 1.5
