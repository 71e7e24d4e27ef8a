"""VQ-VAE on real digits, beside the twin without restart."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import pytest
import torch

import gencore
from gencore.data import digits
from gencore_vq.parts.codebook import perplexity
from gencore_vq.parts.prior import code_nats

pytestmark = pytest.mark.behaviour


@functools.cache
def trained() -> gencore.Model:
    recipe = gencore.recipe("vq-vae", steps=1500, prior_steps=600, num_classes=10)
    return gencore.Trainer(recipe, digits("train"), cpu=True).fit().eval()


@functools.cache
def held_out() -> dict[str, torch.Tensor]:
    test = digits("test")
    return test.fetch(torch.arange(len(test)))


@torch.no_grad()
def error(rebuilt: torch.Tensor) -> float:
    return (rebuilt - held_out()["x"]).square().mean().item()


def test_reconstructs_better_than_the_mean_and_than_pca(measured) -> None:
    """PCA keeps as many numbers as there are code positions: four. Twin: the mean image, which needs no code."""
    train = digits("train").fetch(torch.arange(len(digits("train"))))["x"].flatten(1)
    test, mean = held_out()["x"].flatten(1), train.mean(0)
    _, _, axes = torch.linalg.svd(train - mean, full_matrices=False)
    pca = (test - mean) @ axes[:4].T @ axes[:4] + mean
    with torch.no_grad():
        rebuilt = trained().reconstruct(held_out()["x"])
    linear, blank = error(pca.view_as(rebuilt)), error(mean.expand_as(test).view_as(rebuilt))
    measured(
        "vq-vae",
        "error over that of four principal axes; twin: the mean digit",
        figure=error(rebuilt) / linear,
        twin=blank / linear,
        bar=1.0,
        better="lower",
    )


def used(model: gencore.Model) -> float:
    """Perplexity of the code usage on held-out digits."""
    return perplexity(model.encode(held_out()["x"]).flatten().bincount(minlength=64).float()).item()


@torch.no_grad()
def move_codes_away(model: gencore.Model) -> None:
    """A bad beginning: every code 5 units from the latents."""
    model.codebook.vectors.add_(5.0)
    model.codebook.sums.add_(5.0)


def test_the_codebook_is_in_use() -> None:
    assert used(trained()) > 30


def used_after_a_bad_beginning(restart_below: float) -> float:
    recipe = gencore.recipe("vq-vae", steps=800, prior_steps=0, restart_below=restart_below)
    stage = dataclasses.replace(recipe.stages[0], begin=move_codes_away)
    return used(gencore.Trainer(dataclasses.replace(recipe, stages=(stage,)), digits("train"), cpu=True).fit().eval())


def test_restart_brings_lost_codes_back(measured) -> None:
    """From a bad beginning: over 30 of 64 codes in use with restart, under 15 without (the ablated twin)."""
    page, twin = (used_after_a_bad_beginning(below) for below in (0.5, 0.0))
    assert twin < 15, twin
    measured(
        "vq-vae",
        "perplexity of 64 codes that began far from the data; twin: no restart",
        figure=page,
        twin=twin,
        bar=30,
        better="higher",
    )


# The prior, over the 8 x 8 codes of digits at 32 x 32: with four codes a digit there is little to know.

PLACES = torch.arange(64)


@functools.cache
def large(split: Literal["train", "test"]) -> dict[str, torch.Tensor]:
    source = digits(split, 32)
    return source.fetch(torch.arange(min(1400, len(source))))


@functools.cache
def trained_large() -> Any:
    recipe = gencore.recipe(
        "vq-vae", data_shape=(1, 32, 32), width=16, steps=400, prior_steps=500, prior_layers=3, num_classes=10
    )
    return gencore.Trainer(recipe, digits("train", 32), cpu=True).fit().eval()


@functools.cache
def frequencies() -> torch.Tensor:
    """How often each code stands at each place of the training digits, (64, 64)."""
    with torch.no_grad():
        seen = trained_large().encode(large("train")["x"]).flatten(1)
    return torch.stack([seen[:, place].bincount(minlength=64) for place in PLACES]).float()


@torch.no_grad()
def test_prior_knows_more_than_the_frequencies() -> None:
    """Held-out nats a code under the prior, against the code frequencies at each place: three seeds, 0.59 to 0.69.
    Twin: labels shuffled, 0.5 to 0.7 nats more."""
    model, test = trained_large(), large("test")
    codes, counts = model.encode(test["x"]).flatten(1), frequencies() + 1
    nats = code_nats(model.prior(codes[:, :-1], test["label"]), codes).mean()
    shuffled = code_nats(model.prior(codes[:, :-1], test["label"].roll(1)), codes).mean()
    unigram = -(counts / counts.sum(1, keepdim=True))[PLACES, codes].log().mean()
    assert nats < 0.75 * unigram, (nats, unigram)
    assert shuffled > nats + 0.2


@torch.no_grad()
def test_samples_of_the_prior_are_nearer_to_digits_than_independent_codes() -> None:
    """Squared distance to the nearest training image. Twin: each place's code by its own frequency.

    Three seeds: 0.51 to 0.58 of the twin's distance; held-out digits themselves 0.29 to 0.31.
    """
    model, train = trained_large(), large("train")["x"]
    drawn = torch.multinomial(frequencies(), 1000, replacement=True, generator=torch.Generator().manual_seed(0)).T
    independent = model.generate(drawn.unflatten(1, model.config.code_shape))

    def away(x: torch.Tensor) -> float:
        return torch.cdist(x.flatten(1), train.flatten(1)).min(1).values.square().mean().item()

    distances = away(model.sample(1000)), away(independent)
    assert distances[0] < 0.8 * distances[1], distances
