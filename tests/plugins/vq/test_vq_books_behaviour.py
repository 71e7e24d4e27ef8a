"""Several books on real digits, and how codebooks begin, each beside its ablated twin.

Errors are squared errors an image. Measured with seed 0: residual, 1 to 4 books, 6.0, 4.1, 3.6, 3.5, without book
dropout 7.4, 4.4, 3.5, 3.2; four groups of 16 codes 3.2, one book of 64 codes 4.8.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

import gencore
from gencore.data import digits
from gencore_vq.parts.codebook import perplexity

pytestmark = pytest.mark.behaviour


@functools.cache
def held_out() -> torch.Tensor:
    test = digits("test")
    return test.fetch(torch.arange(len(test)))["x"]


@functools.cache
def trained(system: str, **arguments: Any) -> Any:
    recipe = gencore.recipe(system, **{"steps": 500, "prior_steps": 0, **arguments})
    return gencore.Trainer(recipe, digits("train"), cpu=True).fit().eval()


@torch.no_grad()
def error(model: Any, codes: torch.Tensor) -> float:
    return (model.generate(codes) - held_out()).square().flatten(1).sum(1).mean().item()


@torch.no_grad()
def errors_by_depth(model: Any) -> list[float]:
    codes = model.encode(held_out())
    return [error(model, codes[:, :depth]) for depth in range(1, codes.shape[1] + 1)]


def used(model: Any) -> float:
    """Perplexity of the code usage on held-out digits."""
    codes = model.encode(held_out()).flatten()
    return perplexity(codes.bincount(minlength=model.config.num_codes).float()).item()


def test_every_residual_book_takes_some_of_the_error(measured) -> None:
    """Four books of 16 codes against their own first one, the twin: 16 codes a place."""
    errors = errors_by_depth(trained("residual-vq-vae"))
    assert errors == sorted(errors, reverse=True), errors
    measured(
        "residual-vq-vae",
        "error of four books over that of the first alone",
        figure=errors[-1] / errors[0],
        twin=1.0,
        bar=0.75,
        better="lower",
    )


def test_book_dropout_makes_the_first_book_serve_alone() -> None:
    """Twin: trained for all books only."""
    with_dropout = errors_by_depth(trained("residual-vq-vae"))
    without = errors_by_depth(trained("residual-vq-vae", book_dropout=False))
    assert with_dropout[0] < 0.9 * without[0], (with_dropout, without)


def test_groups_name_more_points_than_one_book_of_as_many_vectors(measured) -> None:
    """16^4 points from four groups of 16 codes. Twin: 64 codes in one book, which holds four times the numbers."""
    grouped, single = trained("grouped-vq-vae"), trained("vq-vae", num_codes=64, kmeans_iterations=10)
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


@pytest.mark.parametrize(("kmeans_iterations", "holds"), [(10, True), (0, False)])
def test_k_means_begins_with_all_codes_in_use(kmeans_iterations: int, holds: bool) -> None:
    """After one step, on held-out digits: 31 of 64 with k-means, 1.5 without (the twin: codes at random near zero).

    It is a beginning only: the encoder moves away from either codebook within ten steps (2.0 and 2.0), restart brings
    the codes back.
    """
    perplexity = used(trained("vq-vae", steps=1, restart_below=0.0, kmeans_iterations=kmeans_iterations))
    assert perplexity > 20 if holds else perplexity < 5, perplexity


def test_cosine_codes_stay_in_use_without_restart(measured) -> None:
    """40 of 64 codes after 300 steps. Twin: the same codebook by gradient, with the lengths left in: 10."""
    cosine = trained("cosine-vq-vae", steps=300)
    euclidean = trained("vq-vae", steps=300, update="gradient", code_dim=8)
    assert used(euclidean) < 17, used(euclidean)
    measured(
        "cosine-vq-vae",
        "perplexity of 64 codes without restart",
        figure=used(cosine),
        twin=used(euclidean),
        bar=25,
        better="higher",
    )
