"""Cosine VQ-VAE: codes of unit length have the highest cosine, and stay in use without restart."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange
from torch.nn import functional as F

import gencore
from gencore_vq.parts.codebook import Codebook
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vq.codebooks import brute_force, spread
from tests.plugins.vq.vq_digits import PRIOR, held_out, trained, used


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


@pytest.mark.behaviour
def test_cosine_codes_stay_in_use_without_restart(measured) -> None:
    """40 of 64 codes after 300 steps. Twin: the same codebook by gradient, with the lengths left in: 10."""
    cosine = trained("cosine-vq-vae", steps=300, **PRIOR)
    draws_nearer(cosine, held_out())
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
