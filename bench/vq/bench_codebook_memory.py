"""K = 16,384 codes: a training step of the codebook holds no N x K tensor, forward and backward.

N x K float32 would be 512 MB; every contestant's peak is measured by the harness, ours is held to a sixteenth of that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gencore_vq.parts.codebook import Codebook, StraightThrough

NUM_CODES, DIM, LATENTS = 16_384, 16, (8, 16, 32, 32)
ROWS = LATENTS[0] * LATENTS[2] * LATENTS[3]
DISTANCES = ROWS * NUM_CODES * 4
"""Bytes of the distances of all rows to all codes."""


def our_step(book: Codebook, latents: Tensor) -> Callable[[], Tensor]:
    """Look-up, losses, gradients and, where the codebook has them, moving averages; returns the gradient of latents."""

    def step() -> Tensor:
        leaf = latents.detach().requires_grad_()
        quantized = book(leaf)
        through = StraightThrough.apply(leaf, quantized.vectors.detach())
        loss = through.square().mean() + 0.25 * F.mse_loss(leaf, quantized.vectors.detach())
        if book.update == "gradient":
            book.vectors.grad = None
            loss = loss + F.mse_loss(quantized.vectors, leaf.detach())
        loss.backward()
        if book.update == "ema":
            book.follow(quantized.counts, quantized.sums, decay=1.0)
        return leaf.grad

    return step


def textbook_step(book: Codebook, latents: Tensor) -> Callable[[], Tensor]:
    """The same gradient by way of all distances."""

    def step() -> Tensor:
        leaf = latents.detach().requires_grad_()
        rows, vectors = book.rows(leaf), book.vectors.detach()
        distances = rows.square().sum(1, keepdim=True) - 2 * rows @ vectors.T + vectors.square().sum(1)
        found = book.lookup(distances.argmin(1).view(LATENTS[0], *LATENTS[2:])).detach()
        through = StraightThrough.apply(leaf, found)
        (through.square().mean() + 0.25 * F.mse_loss(leaf, found)).backward()
        return leaf.grad

    return step


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_no_distance_matrix(race: Any, update: str) -> None:
    torch.manual_seed(0)
    book, latents = Codebook(NUM_CODES, DIM, update), torch.randn(LATENTS)
    book.vectors.data.normal_()
    if update == "ema":
        book.sums.copy_(book.vectors)
    leaf = latents.double().requires_grad_()
    codes = torch.cat([torch.cdist(rows.double(), book.vectors.detach().double()).argmin(1)
                       for rows in book.rows(latents).split(512)])  # fmt: skip
    exact = book.lookup(codes.view(LATENTS[0], *LATENTS[2:])).detach().double()
    (StraightThrough.apply(leaf, exact).square().mean() + 0.25 * F.mse_loss(leaf, exact)).backward()
    row = race(
        "codebook step, forward and backward",
        f"{ROWS} latents, K = {NUM_CODES}, D = {DIM}, {update}",
        {"gencore": our_step(book, latents), "all distances": textbook_step(book, latents)},
        error=lambda gradient: (gradient.double() - leaf.grad).abs().max() / leaf.grad.abs().max(),
        error_unit="rel. to the largest gradient",
        tests="tests/plugins/vq/parts/test_codebook.py",
    )
    ours, textbook = (entry["peak_bytes"] for entry in row["contestants"])
    assert ours is not None, "peak memory can be measured on Linux only"
    assert textbook > DISTANCES, "the measure sees an N x K tensor where there is one"
    assert ours < DISTANCES / 16, f"{ours / 2**20:.0f} MB"
