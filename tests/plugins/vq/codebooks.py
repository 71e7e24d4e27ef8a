"""Codebooks for tests, and the nearest code by brute force."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gencore_vq.parts.codebook import Codebook
from gencore_vq.vq_vae import VectorQuantization


def spread(book: Codebook, seed: int = 0) -> Codebook:
    """The codebook with vectors apart from each other."""
    generator = torch.Generator().manual_seed(seed)
    book.vectors.data.copy_(torch.randn(book.vectors.shape, generator=generator))
    return book


def brute_force(rows: Tensor, vectors: Tensor) -> Tensor:
    return torch.cdist(rows.double(), vectors.double()).argmin(1)


def one_step(objective: VectorQuantization, model: Any, x: Tensor) -> None:
    """What a step does beside moving the networks' weights."""
    with torch.no_grad():
        objective.after_step(model, "autoencoder", [objective.loss(model, "autoencoder", {"x": x}).seen])
