"""The latent tools on trained models and real digits, beside twins that must miss the bar; baselines always there."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

import gencore
from gencore.data import arrays, digits
from gencore.latent import (
    anomaly_scores,
    auroc,
    combine,
    decode,
    encode_all,
    latent_map,
    select_cluster_centres,
    select_k_centre,
    select_random,
    walk,
)

pytestmark = pytest.mark.behaviour
TRAIN = digits("train").fetch(torch.arange(1400))
TEST = digits("test").fetch(torch.arange(397))


def neighbours_agree(places: torch.Tensor, label: torch.Tensor) -> float:
    """The share of points whose five neighbours have their class by majority."""
    distance = torch.cdist(places, places)
    distance.fill_diagonal_(torch.inf)
    return (label[distance.topk(5, largest=False).indices].mode(1).values == label).float().mean().item()


def trust(places: torch.Tensor) -> float:
    """How far neighbours in the plane are neighbours in the data (Venna & Kaski 2001)."""
    from sklearn.manifold import trustworthiness

    return trustworthiness(TEST["x"].flatten(1).numpy(), places.numpy(), n_neighbors=10)


@functools.cache
def plane() -> torch.Tensor:
    """Held-out digits in the code of a 2-D autoencoder."""
    recipe = gencore.recipe("deep-autoencoder", code_dim=2, hidden=(128, 64), steps=1500)
    return encode_all(gencore.Trainer(recipe, digits("train"), cpu=True).fit(), digits("test")).z


def test_maps_keep_neighbours() -> None:
    """t-SNE and a 2-D code before principal components, and these before chance; shuffled labels are the twin."""
    x, label = TEST["x"].flatten(1), TEST["label"]
    maps = {
        "tsne": latent_map(x, method="tsne"),
        "code": latent_map(plane(), method="code"),
        "pca": latent_map(x),
        "random": torch.randn(397, 2, generator=torch.Generator().manual_seed(0)),
    }
    bars = {"tsne": (0.96, 0.9), "code": (0.88, 0.72), "pca": (0.8, 0.5)}
    for name, (trusted, agreeing) in bars.items():
        assert trust(maps[name]) > trusted, (name, trust(maps[name]))
        assert neighbours_agree(maps[name], label) > agreeing, (name, neighbours_agree(maps[name], label))
    assert trust(maps["random"]) < 0.6
    assert neighbours_agree(maps["random"], label) < 0.25
    shuffled = label[torch.randperm(397, generator=torch.Generator().manual_seed(0))]
    assert neighbours_agree(maps["tsne"], shuffled) < 0.25


def test_umap_keeps_neighbours() -> None:
    """Where umap-learn is installed."""
    pytest.importorskip("umap")
    places = latent_map(TEST["x"].flatten(1), method="umap")
    assert trust(places) > 0.93, trust(places)


def test_reconstruction_finds_what_was_not_trained_on() -> None:
    """An autoencoder of ones: other digits score higher. Baseline: distance to the mean. Twin: untrained."""
    ones = TRAIN["x"][TRAIN["label"] == 1]
    arguments: dict[str, Any] = {"code_dim": 4, "hidden": (64,)}
    recipe = gencore.recipe("deep-autoencoder", steps=800, batch_size=32, **arguments)
    trained = gencore.Trainer(recipe, arrays(ones), cpu=True).fit()
    torch.manual_seed(0)
    untrained = recipe.model(recipe.config)
    strange = TEST["label"] != 1
    found = [auroc(anomaly_scores(model, TEST["x"]), strange) for model in (trained, untrained)]
    to_mean = (TEST["x"] - ones.mean(0)).square().flatten(1).sum(1)
    assert found[0] > 0.98
    assert found[0] > auroc(to_mean, strange) + 0.05
    assert found[1] < 0.6


# Labelling


def test_cluster_centres_are_worth_more_labels_than_chance() -> None:
    """Thirty labels, three seeds: k-means centres of the codes beat random choice (the twin), and k-centre does too."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    recipe = gencore.recipe("denoising-autoencoder", code_dim=16, hidden=(128,), steps=1000)
    model = gencore.Trainer(recipe, digits("train"), cpu=True).fit()
    codes = [encode_all(model, part["x"]).z for part in (TRAIN, TEST)]
    known, new = ((z - codes[0].mean(0)) / codes[0].std(0) for z in codes)

    def accuracy(chosen: torch.Tensor) -> float:
        head = linear_model.LogisticRegression(max_iter=500).fit(known[chosen].numpy(), TRAIN["label"][chosen].numpy())
        return float(head.score(new.numpy(), TEST["label"].numpy()))

    by_chance = sum(accuracy(select_random(1400, 30, seed=seed)) for seed in range(3)) / 3
    by_cluster = sum(accuracy(select_cluster_centres(codes[0], 30, seed=seed)) for seed in range(3)) / 3
    assert by_cluster > by_chance + 0.05, (by_cluster, by_chance)
    assert accuracy(select_k_centre(codes[0], 30)) > by_chance


# Shapes of which every factor is known: kind (square, disc), size, row, column


def shape(kind: int, size: float, row: int, column: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    down, right = (y - row).abs(), (x - column).abs()
    inside = torch.maximum(down, right) <= size if kind == 0 else (down**2 + right**2).sqrt() <= size + 0.3
    return inside.float() * 2 - 1


FACTORS = [
    (kind, size, row, column)
    for kind in range(2)
    for size in (1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
    for row in range(4, 12)
    for column in range(4, 12)
]
SHAPES = torch.stack([shape(*factors) for factors in FACTORS])[:, None]


@functools.cache
def shape_model() -> Any:
    recipe = gencore.recipe(
        "denoising-autoencoder",
        data_shape=(1, 16, 16),
        hidden=(256, 128),
        code_dim=5,
        level=0.3,
        steps=2000,
    )
    return gencore.Trainer(recipe, arrays(SHAPES), cpu=True).fit()


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a - b).square().flatten(1).sum(1).mean().item()


def test_the_middle_of_two_codes_is_the_shape_in_the_middle() -> None:
    """Four pixels apart: nearer to the true picture between than the blend of the two pictures, the twin."""
    start, middle, end = (
        torch.stack([shape(k, s, r, c + shift) for k in (0, 1) for s in (2.0, 3.0) for r in (5, 8, 10) for c in (4, 6)])
        for shift in (0, 2, 4)
    )
    codes = [encode_all(shape_model(), x[:, None]).z for x in (start, end)]
    walked = walk(shape_model(), *codes, steps=3, path="lerp")[:, 1, 0]
    assert distance(walked, middle) < 0.6 * distance((start + end) / 2, middle)


def test_big_square_minus_small_square_plus_small_disc_is_a_big_disc() -> None:
    """At 36 places; doing nothing is the twin."""

    def shapes(kind: int, size: float) -> torch.Tensor:
        return torch.stack([shape(kind, size, r, c) for r in range(5, 11) for c in range(5, 11)])[:, None]

    big, small, disc = (encode_all(shape_model(), shapes(*which)).z for which in ((0, 3.5), (0, 1.5), (1, 1.5)))
    made = torch.stack([combine((big[i : i + 1], disc[i : i + 1]), (small[i : i + 1],)) for i in range(36)])
    truth = shapes(1, 3.5)
    assert distance(decode(shape_model(), made), truth) < 0.35 * distance(shapes(1, 1.5), truth)
