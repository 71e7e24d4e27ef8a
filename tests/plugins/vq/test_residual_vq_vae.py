"""Residual VQ-VAE: the first books alone, and real digits beside twins.

Errors are squared errors an image. Measured with seed 0: 1 to 4 books, 6.0, 4.1, 3.6, 3.5, without book dropout 7.4,
4.4, 3.5, 3.2.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import gencore
from gencore.errors import GencoreError
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vq.vq_digits import PRIOR, error, held_out, trained

pytestmark = pytest.mark.xdist_group("residual-vq-vae")  # its tests share what they train

SMALL = {"data_shape": [1, 8, 8], "width": 4, "prior_width": 8, "prior_layers": 1}


def test_a_residual_model_takes_the_first_books_alone() -> None:
    model = gencore.create("residual-vq-vae", **SMALL, books=3).eval()
    codes = model.encode(torch.rand(3, 1, 8, 8) * 2 - 1)
    partial = model.decoder(model.codebook.books[0].lookup(codes[:, 0]) + model.codebook.books[1].lookup(codes[:, 1]))
    torch.testing.assert_close(model.generate(codes[:, :2]), partial)
    for wrong in (codes[:, :0], torch.cat([codes, codes], 1)):
        with pytest.raises(GencoreError, match=r"expected \(N, [13], 2, 2\)"):
            model.generate(wrong)


def test_a_field_of_the_quantizer_is_reached_by_its_name() -> None:
    assert gencore.recipe("residual-vq-vae", books=2, book_dropout=False).config.code_shape == (2, 2, 2)
    with pytest.raises(GencoreError, match="books is 'two'"):
        gencore.recipe("residual-vq-vae", books="two")


@torch.no_grad()
def errors_by_depth(model: Any) -> list[float]:
    codes = model.encode(held_out())
    return [error(model, codes[:, :depth]) for depth in range(1, codes.shape[1] + 1)]


@pytest.mark.behaviour
def test_every_residual_book_takes_some_of_the_error(measured) -> None:
    """Four books of 16 codes against their own first one, the twin: 16 codes a place."""
    model = trained("residual-vq-vae", **PRIOR)
    draws_nearer(model, held_out())
    errors = errors_by_depth(model)
    assert errors == sorted(errors, reverse=True), errors
    measured(
        "residual-vq-vae",
        "error of four books over that of the first alone",
        figure=errors[-1] / errors[0],
        twin=1.0,
        bar=0.75,
        better="lower",
    )


@pytest.mark.behaviour
def test_book_dropout_makes_the_first_book_serve_alone() -> None:
    """Twin: trained for all books only."""
    with_dropout = errors_by_depth(trained("residual-vq-vae", **PRIOR))
    without = errors_by_depth(trained("residual-vq-vae", book_dropout=False))
    assert with_dropout[0] < 0.9 * without[0], (with_dropout, without)
