"""Grouped, residual and unit-length codebooks, and k-means: against brute force, to the bit where they are exact."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

import gencore
from gencore.errors import GencoreError, NonFiniteError
from gencore_vq.parts.codebook import Codebook
from gencore_vq.parts.kmeans import kmeans, lloyd_step
from gencore_vq.parts.residual import ResidualCodebook
from gencore_vq.vq_vae import VectorQuantization


def spread(book: Codebook, seed: int = 0) -> Codebook:
    """The codebook with vectors apart from each other."""
    generator = torch.Generator().manual_seed(seed)
    book.vectors.data.copy_(torch.randn(book.vectors.shape, generator=generator))
    return book


def brute_force(rows: Tensor, vectors: Tensor) -> Tensor:
    return torch.cdist(rows.double(), vectors.double()).argmin(1)


def residual_books(dropout: bool = False) -> ResidualCodebook:
    made = ResidualCodebook(8, 3, books=3, dropout=dropout)
    for stage, book in enumerate(made.books):
        spread(book, seed=stage)
    return made


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


def test_unit_length_codes_have_the_highest_cosine() -> None:
    book = spread(Codebook(16, 4, "gradient", unit_length=True))
    latents = torch.randn(20, 4, 3)
    quantized = book(F.normalize(latents, dim=1))
    rows = rearrange(latents, "n d t -> (n t) d")
    cosine = F.cosine_similarity(rows[:, None].double(), book.vectors[None].double(), dim=-1)
    assert torch.equal(quantized.codes.flatten(), cosine.argmax(1))
    torch.testing.assert_close(quantized.vectors.norm(dim=1), torch.ones(20, 3))
    assert not torch.equal(quantized.codes.flatten(), brute_force(rows, book.vectors)), "lengths would have mattered"


def test_cosine_model_does_not_see_the_length_of_its_latents() -> None:
    model = gencore.create("cosine-vq-vae", data_shape=[1, 8, 8], width=8).eval()
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    codes = model.encode(x)
    last = model.encoder[-2]
    with torch.no_grad():
        last.weight.mul_(7.0)
        last.bias.mul_(7.0)
    assert torch.equal(model.encode(x), codes)


def blobs(count: int = 400) -> tuple[Tensor, Tensor]:
    """Rows around 8 corners of a cube, and the corners."""
    corners = torch.cartesian_prod(*[torch.tensor([-5.0, 5.0])] * 3)
    generator = torch.Generator().manual_seed(0)
    return corners.repeat(count // 8, 1) + 0.1 * torch.randn(count, 3, generator=generator), corners


def test_each_residual_book_begins_at_what_is_left_over() -> None:
    """Points 10 a + b for a, b of two values each: book 1 finds the 10 a (and mean b), book 2 the b."""
    coarse, fine = torch.tensor([-10.0, 10.0]), torch.tensor([-1.0, 1.0])
    points = (coarse[:, None] + fine).flatten().repeat(8)[:, None, None].expand(-1, 2, 1)
    book = ResidualCodebook(2, 2, books=2)
    torch.manual_seed(0)
    book.begin(points, iterations=10)
    torch.testing.assert_close(book.eval()(points).vectors, points)
    assert book.books[1].vectors.abs().max() < 1.5


def test_lloyd_step_moves_centres_to_the_means_and_leaves_empty_ones() -> None:
    rows, corners = blobs()
    start = torch.cat([corners[:7] + 0.5, torch.full((1, 3), 100.0)])
    moved = lloyd_step(rows, start)
    assigned = brute_force(rows, start)
    for centre in range(7):
        torch.testing.assert_close(moved[centre], rows[assigned == centre].mean(0))
    assert torch.equal(moved[7], start[7])


def test_k_means_never_raises_the_error() -> None:
    rows = torch.randn(2, 300, 4, generator=torch.Generator().manual_seed(1))
    errors = []
    for iterations in (0, 1, 2, 5, 20):
        torch.manual_seed(0)
        centres = kmeans(rows, 10, iterations=iterations)
        assert centres.shape == (2, 10, 4)
        errors.append(torch.cdist(rows, centres).amin(-1).square().mean().item())
    assert all(later < earlier for earlier, later in itertools.pairwise(errors)), errors
    torch.manual_seed(0)
    alone = kmeans(rows[1], 10, iterations=20)
    torch.testing.assert_close(alone, centres[1])


def test_k_means_starts_at_rows_that_differ() -> None:
    rows = torch.arange(24.0).view(8, 3)
    torch.manual_seed(0)
    assert torch.equal(kmeans(rows, 8, iterations=3).sort(0).values, rows)


def one_step(objective: VectorQuantization, model: Any, x: Tensor) -> None:
    """What a step does beside moving the networks' weights."""
    with torch.no_grad():
        objective.after_step(model, "autoencoder", [objective.loss(model, "autoencoder", {"x": x}).seen])


def test_more_codes_than_latents_are_refused() -> None:
    with pytest.raises(GencoreError, match=r"asked for 9 codes.*gives 8 latents.*num_codes"):
        kmeans(torch.randn(8, 2), 9, iterations=1)
    recipe = gencore.recipe("residual-vq-vae", num_codes=512, width=4, batch_size=8)
    model = recipe.model(recipe.config)
    with pytest.raises(GencoreError, match=r"asked for 512 codes.*gives 32 latents"):
        one_step(recipe.stages[0].objective, model, torch.zeros(8, 1, 8, 8))


def test_k_means_refuses_nan() -> None:
    rows = torch.randn(8, 2)
    rows[3, 1] = torch.nan
    with pytest.raises(NonFiniteError, match="in 1 latents of the first batch"):
        kmeans(rows, 2, iterations=1)


@pytest.mark.parametrize("system", ["vq-vae", "grouped-vq-vae", "residual-vq-vae", "cosine-vq-vae"])
def test_the_codebook_begins_at_the_first_batch_and_only_there(system: str) -> None:
    recipe = gencore.recipe(system, num_codes=8, width=4, kmeans_iterations=3)
    torch.manual_seed(0)
    model, objective = recipe.model(recipe.config), recipe.stages[0].objective
    before = {name: tensor.clone() for name, tensor in model.codebook.state_dict().items()}
    x = torch.rand(16, 1, 8, 8) * 2 - 1
    one_step(objective, model, x)
    begun = {name: tensor.clone() for name, tensor in model.codebook.state_dict().items()}
    moved = [name for name in before if name.endswith("vectors")]
    assert all(not torch.equal(before[name], begun[name]) for name in moved)
    assert objective.state_dict()["begun"].item() == 1, "kept in a checkpoint, so that a resume does not begin anew"
    objective.loss(model, "autoencoder", {"x": -x})
    assert all(torch.equal(tensor, begun[name]) for name, tensor in model.codebook.state_dict().items())


def test_without_k_means_the_objective_has_no_state() -> None:
    assert not VectorQuantization(commitment=0.25, decay=0.99, restart_below=0.5).state_dict()
