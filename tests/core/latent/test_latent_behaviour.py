"""The latent tools on trained models and real digits, beside twins that must miss the bar; baselines always there."""

from __future__ import annotations

import copy
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


def trust(places: torch.Tensor, x: torch.Tensor = TRAIN["x"]) -> float:
    """How far neighbours in the plane are neighbours in the data (Venna & Kaski 2001)."""
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(x.flatten(1).numpy(), places.numpy(), n_neighbors=10))


@functools.cache
def plane() -> torch.Tensor:
    """The digits in the code of a 2-D autoencoder."""
    recipe = gencore.recipe("deep-autoencoder", code_dim=2, hidden=(256, 128), steps=1800)
    return encode_all(gencore.Trainer(recipe, digits("train"), cpu=True).fit(), digits("train")).z


def test_maps_keep_neighbours() -> None:
    """t-SNE and a 2-D code before principal components, and these before chance; shuffled labels are the twin.

    Trust and agreement of the 1,400: t-SNE 0.993, 0.985; code 0.972, 0.931 (seed 1: 0.969, 0.913); components 0.829,
    0.637; chance 0.498.
    """
    x, label = TRAIN["x"].flatten(1), TRAIN["label"]
    generator = torch.Generator().manual_seed(0)
    maps = {
        "tsne": latent_map(x, method="tsne"),
        "code": latent_map(plane(), method="code"),
        "pca": latent_map(x),
        "random": torch.randn(len(x), 2, generator=generator),
    }
    bars = {"tsne": (0.98, 0.95), "code": (0.95, 0.88), "pca": (0.8, 0.55)}
    for name, (trusted, agreeing) in bars.items():
        assert trust(maps[name]) > trusted, (name, trust(maps[name]))
        assert neighbours_agree(maps[name], label) > agreeing, (name, neighbours_agree(maps[name], label))
    assert trust(maps["pca"]) < 0.87
    assert trust(maps["random"]) < 0.6
    assert neighbours_agree(maps["random"], label) < 0.25
    shuffled = label[torch.randperm(len(label), generator=generator)]
    assert neighbours_agree(maps["tsne"], shuffled) < 0.25


def test_umap_keeps_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where umap-learn is installed. Of pynndescent, which UMAP asks above 4,096 points only, nothing is compiled: its
    import takes twelve seconds else."""
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    pytest.importorskip("pynndescent")
    monkeypatch.undo()
    pytest.importorskip("umap")
    places = latent_map(TEST["x"].flatten(1), method="umap")
    assert torch.get_num_threads() == 1, "torch's threads are not umap's affair"
    assert trust(places, TEST["x"]) > 0.93


def test_reconstruction_finds_what_was_not_trained_on() -> None:
    """An autoencoder of ones: other digits score higher. Baseline: distance to the mean, 0.879. Twin: untrained.

    Three seeds: 0.9999 or more.
    """
    ones = TRAIN["x"][TRAIN["label"] == 1]
    arguments: dict[str, Any] = {"code_dim": 4, "hidden": (64,)}
    recipe = gencore.recipe("deep-autoencoder", steps=800, batch_size=32, **arguments)
    trained = gencore.Trainer(recipe, arrays(ones), cpu=True).fit()
    torch.manual_seed(0)
    untrained = recipe.model(recipe.config)
    strange = TEST["label"] != 1
    found = [auroc(anomaly_scores(model, TEST["x"]), strange) for model in (trained, untrained)]
    to_mean = (TEST["x"] - ones.mean(0)).square().flatten(1).sum(1)
    assert found[0] > 0.995, found
    assert found[0] > auroc(to_mean, strange) + 0.05
    assert found[1] < 0.6


def test_likelihood_of_a_trained_model_finds_as_much_as_the_true_density() -> None:
    """x = W z + noise: the AUROC of a linear VAE's bound is that of log p. The trivial score, the distance to the
    mean, sees it upside down (the strange are short, and off the plane). Twin: untrained.

    Three seeds: 0.6957, 0.6956, 0.6959 against 0.6958; untrained 0.338, distance 0.270.
    """
    generator = torch.Generator().manual_seed(0)
    weight = torch.tensor([[1.0, 0.9], [0.9, 1.0], [1.2, 1.0], [0.8, 0.9], [1.0, 1.1], [0.7, 0.7]])
    covariance = weight @ weight.T + 0.25 * torch.eye(6)
    density = torch.distributions.MultivariateNormal(torch.zeros(6), covariance)
    known, new, odd = (torch.randn(count, 6, generator=generator) for count in (4000, 1000, 1000))
    known, new = (x @ torch.linalg.cholesky(covariance).T for x in (known, new))
    x = torch.cat([new, 0.5 * covariance.diag().sqrt() * odd])
    strange = torch.arange(2000) >= 1000
    found = []
    for steps in (3000, 0):
        recipe = gencore.recipe(
            "vae",
            data_shape=(6,),
            latent_dim=2,
            hidden=(),
            decoder_std=0.5,
            steps=steps,
            batch_size=256,
            learning_rate=1e-2,
        )
        model = gencore.Trainer(recipe, arrays(known), cpu=True).fit()
        found.append(auroc(anomaly_scores(model, x, by="likelihood"), strange))
    best = auroc(-density.log_prob(x), strange)
    assert abs(found[0] - best) < 0.01, (found, best)
    assert found[1] < 0.5, found
    assert auroc(x.square().sum(1), strange) < 0.5


# Labelling


def test_cluster_centres_are_worth_more_labels_than_chance() -> None:
    """Thirty labels, five seeds: k-means centres of the codes beat random choice (the twin), and k-centre does too."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    recipe = gencore.recipe("denoising-autoencoder", code_dim=16, hidden=(128,), steps=1000)
    model = gencore.Trainer(recipe, digits("train"), cpu=True).fit()
    codes = [encode_all(model, part["x"]).z for part in (TRAIN, TEST)]
    known, new = ((z - codes[0].mean(0)) / codes[0].std(0) for z in codes)

    def accuracy(chosen: torch.Tensor) -> float:
        head = linear_model.LogisticRegression(max_iter=500).fit(known[chosen].numpy(), TRAIN["label"][chosen].numpy())
        return float(head.score(new.numpy(), TEST["label"].numpy()))

    by_chance = sum(accuracy(select_random(1400, 30, seed=seed)) for seed in range(5)) / 5
    by_cluster = sum(accuracy(select_cluster_centres(codes[0], 30, seed=seed)) for seed in range(5)) / 5
    assert by_cluster > by_chance + 0.03, (by_cluster, by_chance)
    assert accuracy(select_k_centre(codes[0], 30)) > by_chance


# Augmentation


@functools.cache
def class_conditional() -> tuple[Any, Any]:
    """A class-conditional DDPM of the digits, trained and untrained."""
    recipe = gencore.recipe(
        "ddpm",
        num_classes=10,
        network="dense",
        width=192,
        depth=3,
        num_timesteps=200,
        steps=1800,
        batch_size=128,
        learning_rate=1e-3,
    )
    torch.manual_seed(0)
    untrained = recipe.model(recipe.config)
    trainer = gencore.Trainer(recipe, digits("train"), cpu=True)
    trainer.fit()
    with trainer.published() as model:
        return copy.deepcopy(model).eval(), untrained.eval()


def learns(x: torch.Tensor, label: torch.Tensor) -> float:
    """The accuracy on 397 real held-out digits of a logistic regression trained on x, label."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    head = linear_model.LogisticRegression(max_iter=2000).fit(x.flatten(1).numpy(), label.numpy())
    return float(head.score(TEST["x"].flatten(1).numpy(), TEST["label"].numpy()))


def test_samples_alone_teach_a_classifier_of_real_digits() -> None:
    """1,500 samples, 150 a class (train on synthetic, test on real). Twin: the untrained model's samples, by chance.

    Seeds 0, 1: 0.924, 0.909; the 1,400 real digits 0.962. Beside few real labels samples help, though the
    sampler itself has seen all 1,400 labels: 50 real ones 0.76 (0.85 by another choice of 50), with samples about 0.9.
    """
    label = torch.arange(1500) % 10
    samples, noise = (model.sample(1500, condition=label, batch_size=1500) for model in class_conditional())
    assert learns(samples, label) > 0.88, learns(samples, label)
    assert learns(noise, label) < 0.3, learns(noise, label)
    few = torch.cat([(TRAIN["label"] == kind).nonzero()[:5, 0] for kind in range(10)])
    real = TRAIN["x"][few], TRAIN["label"][few]
    both = torch.cat([real[0], samples]), torch.cat([real[1], label])
    assert learns(*both) > learns(*real) + 0.02, (learns(*both), learns(*real))


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
        code_dim=4,
        level=0.8,
        steps=1500,
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
    assert distance(walked, middle) < 0.5 * distance((start + end) / 2, middle)


def test_big_square_minus_small_square_plus_small_disc_is_a_big_disc() -> None:
    """At 36 places; doing nothing is the twin."""

    def shapes(kind: int, size: float) -> torch.Tensor:
        return torch.stack([shape(kind, size, r, c) for r in range(5, 11) for c in range(5, 11)])[:, None]

    big, small, disc = (encode_all(shape_model(), shapes(*which)).z for which in ((0, 3.5), (0, 1.5), (1, 1.5)))
    made = torch.stack([combine((big[i : i + 1], disc[i : i + 1]), (small[i : i + 1],)) for i in range(36)])
    truth = shapes(1, 3.5)
    assert distance(decode(shape_model(), made), truth) < 0.35 * distance(shapes(1, 1.5), truth)
