"""VQ-VAE on real digits, beside the twin without restart."""

from __future__ import annotations

import functools

import pytest
import torch
from gencore_vq.codebook import perplexity
from gencore_vq.prior import code_nats

import gencore
from gencore.data import digits

pytestmark = pytest.mark.behaviour


@functools.cache
def trained(restart_below: float) -> gencore.Model:
    recipe = gencore.recipe("vq-vae", steps=1500, prior_steps=600, restart_below=restart_below, num_classes=10)
    return gencore.Trainer(recipe, digits("train"), cpu=True).fit().eval()


@functools.cache
def held_out() -> dict[str, torch.Tensor]:
    test = digits("test")
    return test.fetch(torch.arange(len(test)))


@torch.no_grad()
def error(rebuilt: torch.Tensor) -> float:
    return (rebuilt - held_out()["x"]).square().mean().item()


def test_reconstructs_better_than_the_mean_and_than_pca() -> None:
    """PCA keeps as many numbers as there are code positions: four."""
    train = digits("train").fetch(torch.arange(len(digits("train"))))["x"].flatten(1)
    test, mean = held_out()["x"].flatten(1), train.mean(0)
    _, _, axes = torch.linalg.svd(train - mean, full_matrices=False)
    pca = (test - mean) @ axes[:4].T @ axes[:4] + mean
    with torch.no_grad():
        rebuilt = trained(0.5).reconstruct(held_out()["x"])
    assert error(rebuilt) < error(pca.view_as(rebuilt)) < error(mean.expand_as(test).view_as(rebuilt))


@pytest.mark.parametrize(("restart_below", "holds"), [(0.5, True), (0.0, False)])
def test_restart_keeps_the_codebook_in_use(restart_below: float, holds: bool) -> None:
    """Perplexity of 64 codes: over 30 with restart, under 15 without (the ablated twin)."""
    with torch.no_grad():
        used = perplexity(trained(restart_below).encode(held_out()["x"]).flatten().bincount(minlength=64).float())
    assert used > 30 if holds else used < 15, used


def test_prior_knows_more_than_the_frequencies() -> None:
    """Held-out nats a code under the prior, against the code frequencies at each place. Twin: labels shuffled."""
    model = trained(0.5)
    train, test = digits("train").fetch(torch.arange(1400)), held_out()
    with torch.no_grad():
        codes, seen = model.encode(test["x"]).flatten(1), model.encode(train["x"]).flatten(1)
        nats = code_nats(model.prior(codes[:, :-1], test["label"]), codes).mean()
        shuffled = code_nats(model.prior(codes[:, :-1], test["label"].roll(1)), codes).mean()
    counts = torch.stack([seen[:, place].bincount(minlength=64) for place in range(4)]).float() + 1
    share = counts / counts.sum(1, keepdim=True)
    unigram = -share[torch.arange(4), codes].log().mean()
    assert nats < 0.85 * unigram
    assert shuffled > nats + 0.2
