"""k-means: a step by brute force, its beginning, and what it refuses."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

import gencore
from gencore.errors import GencoreError, NonFiniteError
from gencore_vq.parts.kmeans import kmeans, lloyd_step
from tests.plugins.vq.codebooks import brute_force, one_step


def blobs(count: int = 400) -> tuple[Tensor, Tensor]:
    """Rows around 8 corners of a cube, and the corners."""
    corners = torch.cartesian_prod(*[torch.tensor([-5.0, 5.0])] * 3)
    generator = torch.Generator().manual_seed(0)
    return corners.repeat(count // 8, 1) + 0.1 * torch.randn(count, 3, generator=generator), corners


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
