"""Grouped VQ-VAE: groups of channels against brute force, and many points from few vectors on real digits.

Errors are squared errors an image. Measured with seed 0: four groups of 16 codes 3.2, one book of 64 codes 4.8.
"""

from __future__ import annotations

import pytest
import torch

from gencore_vq.parts.codebook import Codebook
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vq.codebooks import brute_force, spread
from tests.plugins.vq.vq_digits import PRIOR, error, held_out, trained


@pytest.mark.parametrize("places", [(4, 5), (6,)], ids=["image", "sequence"])
def test_grouped_is_one_codebook_for_each_slice_of_the_channels(places: tuple[int, ...]) -> None:
    book = spread(Codebook(8, 6, "ema", groups=2))
    latents = torch.randn(3, 6, *places)
    quantized = book(latents)
    assert quantized.codes.shape == (3, 2, *places)
    for group, part in enumerate(latents.chunk(2, 1)):
        alone = Codebook(8, 3, "ema")
        alone.vectors.copy_(book.vectors[group])
        expected = alone(part)
        assert torch.equal(quantized.codes[:, group], expected.codes)
        assert torch.equal(quantized.vectors.chunk(2, 1)[group], expected.vectors)
        assert torch.equal(quantized.counts[group], expected.counts)
        torch.testing.assert_close(quantized.sums[group], expected.sums)
    assert torch.equal(book.lookup(quantized.codes), quantized.vectors)


def test_product_of_groups_is_the_nearest_of_all_combinations() -> None:
    """The distance splits over the groups: K^G points are searched, though only G K vectors are kept."""
    book = spread(Codebook(4, 4, "ema", groups=2))
    latents = torch.randn(50, 4, 1)
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    points = torch.cat([book.vectors[0][pairs[:, 0]], book.vectors[1][pairs[:, 1]]], 1)
    best = points[brute_force(latents[..., 0], points)]
    assert torch.equal(book(latents).vectors[..., 0], best)


def test_averages_of_groups_do_not_mix() -> None:
    """Decay 0: every group's codes are the means of its own rows; restart replaces dead codes of their group only."""
    book = spread(Codebook(4, 4, "ema", groups=2))
    latents = torch.randn(40, 4, 3)
    quantized = book(latents)
    book.follow(quantized.counts, quantized.sums, decay=0.0)
    for group in range(2):
        codes = quantized.codes[:, group].flatten()
        for code in codes.unique():
            mean = quantized.rows[group][codes == code].mean(0)
            torch.testing.assert_close(book.vectors[group, code], mean, atol=1e-5, rtol=1e-4)
    book.counts.fill_(5.0)[1, 2] = 0.0
    before = book.vectors.clone()
    assert book.restart(torch.full((2, 4, 2), 9.0), below=0.5).item() == 1
    changed = (book.vectors != before).any(-1)
    assert changed.nonzero().tolist() == [[1, 2]]


@pytest.mark.behaviour
def test_groups_name_more_points_than_one_book_of_as_many_vectors(measured) -> None:
    """16^4 points from four groups of 16 codes. Twin: 64 codes in one book, which holds four times the numbers."""
    grouped, single = trained("grouped-vq-vae", **PRIOR), trained("vq-vae", num_codes=64, kmeans_iterations=10)
    draws_nearer(grouped, held_out())
    with torch.no_grad():
        errors = [error(model, model.encode(held_out())) for model in (grouped, single)]
    measured(
        "grouped-vq-vae",
        "error over that of one book of 64 codes",
        figure=errors[0] / errors[1],
        twin=1.0,
        bar=0.8,
        better="lower",
    )
