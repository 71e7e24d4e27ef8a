"""VQ-VAE: published configs and weights, gradients and settings of the objective, and real digits beside twins."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import pytest
import torch
from torch.nn import functional as F

import gencore
from gencore.config import from_json
from gencore.data import InMemory, digits
from gencore.errors import GencoreError
from gencore_vq.parts.codebook import StraightThrough
from gencore_vq.parts.prior import DensityPrior, code_nats
from gencore_vq.vq_vae import GroupedBooks, ResidualBooks, SingleBook, VectorQuantization, VQVAEConfig
from tests.plugins.vq.vq_digits import held_out, trained, used

pytestmark = pytest.mark.xdist_group("vq-vae")  # its tests share what they train


def test_the_vq_vae_of_version_1_still_loads() -> None:
    """A config written before there were books, and the names of its tensors, which published weights have."""
    written = {
        "data_shape": [1, 8, 8], "num_codes": 16, "code_dim": 4, "width": 8, "residual_blocks": 1, "update": "ema",
        "prior_width": 8, "prior_layers": 1, "num_classes": None,
    }  # fmt: skip
    config = from_json(VQVAEConfig, written, version=1)
    model = gencore.recipe("vq-vae").model(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {name.split(".")[0] for name in shapes} == {"encoder", "codebook", "decoder", "prior"}
    assert shapes["codebook.vectors"] == shapes["codebook.sums"] == (16, 4)
    assert shapes["codebook.counts"] == (16,)
    assert shapes["encoder.4.weight"] == (4, 8, 1, 1)
    assert shapes["prior.code.weight"] == shapes["prior.logits.weight"] == (16, 8)
    assert len(shapes) == 40


OLD = {"data_shape": [1, 8, 8], "num_codes": 16, "code_dim": 4, "width": 8, "residual_blocks": 2, "update": "ema"}
OLD |= {"prior_width": 8, "prior_layers": 1, "num_classes": None}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"quantizer": "single", "books": 1, "book_dropout": False, "unit_length": True}, SingleBook(unit_length=True)),
        ({"quantizer": "grouped", "books": 2, "book_dropout": False, "unit_length": False}, GroupedBooks(groups=2)),
        ({"quantizer": "residual", "books": 3, "book_dropout": True, "unit_length": False}, ResidualBooks(books=3)),
    ],
)
def test_configs_of_version_1_are_read(flags: dict[str, Any], expected: Any) -> None:
    """As models published before the quantizer had a config of its own have them."""
    assert from_json(VQVAEConfig, {**OLD, **flags}, version=1).quantizer == expected


def test_codes_of_version_2_enter_a_prior_of_pictures_as_greys() -> None:
    """As models published before codes had vectors have them; new ones have vectors."""
    written = {**OLD, "num_codes": 3, "prior": "gated-pixelcnn", "quantizer": {"unit_length": False}}
    old, new = (from_json(VQVAEConfig, written, version=version) for version in (2, 3))
    keys = [set(gencore.recipe("vq-vae").model(config).prior.state_dict()) for config in (old, new)]
    assert old.prior_embedding == 0
    assert "density.network.layers.0.along.weight" in keys[0]
    assert "density.network.vectors.weight" in keys[1] - keys[0]


@pytest.mark.parametrize(("x", "message"), [(torch.full((8, 1, 8, 8), 200.0), "127.5"), (torch.nan, "NaN")])
def test_training_refuses_bad_images(x: Any, message: str) -> None:
    images = torch.full((8, 1, 8, 8), x) if isinstance(x, float) else x
    recipe = gencore.recipe("vq-vae", width=4, steps=1, batch_size=8)
    with pytest.raises(GencoreError, match=message):
        gencore.Trainer(recipe, InMemory(x=images), cpu=True).fit()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantizer": {"books": 0, "book_dropout": False}}, "books is 0"),
        ({"quantizer": {"groups": 0}}, "groups is 0"),
        ({"quantizer": {"groups": 3}}, "code_dim is 16; expected a multiple of the number of groups"),
        ({"quantizer": {"books": 2}, "update": "gradient"}, "update is 'gradient'"),
        ({"quantizer": {"books": 2, "unit_length": True}}, "unknown key 'unit_length'"),
        ({"quantizer": "tree"}, "quantizer is 'tree'"),
    ],
)
def test_books_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.create("vq-vae", **changes)


@pytest.mark.parametrize(
    ("name", "value"), [("commitment", -1.0), ("decay", 1.0), ("restart_below", -0.1), ("kmeans_iterations", -1)]
)
def test_settings_out_of_range(name: str, value: float) -> None:
    settings: dict[str, Any] = {"commitment": 0.25, "decay": 0.99, "restart_below": 0.5, name: value}
    with pytest.raises(GencoreError, match=f"{name} is {value}"):
        VectorQuantization(**settings)


def test_straight_through_gradient_is_the_decoders_to_the_bit() -> None:
    """With beta = 0, d loss / d z_e = d loss / d z_q."""
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=8)
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    latents = model.encoder(x).detach().requires_grad_()
    vectors = model.codebook(latents).vectors.detach()
    through = torch.autograd.grad(F.mse_loss(model.decoder(StraightThrough.apply(latents, vectors)), x), latents)[0]
    direct = vectors.clone().requires_grad_()
    expected = torch.autograd.grad(F.mse_loss(model.decoder(direct), x), direct)[0]
    assert torch.equal(through, expected)


def test_commitment_gradient() -> None:
    """With beta, d loss / d z_e grows by 2 beta (z_e - e) over the number of elements."""
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=8)
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    gradients = []
    for beta in (0.0, 0.25):
        latents = model.encoder(x)
        latents.retain_grad()
        handle = model.encoder.register_forward_hook(lambda *_, latents=latents: latents)
        objective = VectorQuantization(commitment=beta, decay=0.99, restart_below=0)
        objective.loss(model, "autoencoder", {"x": x}).total.backward()
        handle.remove()
        gradients.append(latents.grad)
    with torch.no_grad():
        latents = model.encoder(x)
        expected = 2 * 0.25 * (latents - model.codebook(latents).vectors) / latents.numel()
    torch.testing.assert_close(gradients[1] - gradients[0], expected, atol=1e-8, rtol=1e-4)


def test_codebook_learns_by_gradient_from_its_own_term_only() -> None:
    """d loss / d e_j = 2 sum over the latents of code j of (e_j - z_e), over the number of elements."""
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=8, update="gradient")
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    VectorQuantization(commitment=0.25, decay=0.99, restart_below=0).loss(
        model, "autoencoder", {"x": x}
    ).total.backward()
    with torch.no_grad():
        latents = model.encoder(x)
        found = model.codebook(latents)
        expected = 2 * (found.counts[:, None] * model.codebook.vectors - found.sums) / latents.numel()
    torch.testing.assert_close(model.codebook.vectors.grad, expected, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize(("restart_below", "moved"), [(0.5, 3), (0.0, 0)])
def test_a_step_restarts_dead_codes_at_latents_of_the_batch(restart_below: float, moved: int) -> None:
    """Three codes far away with a count of 0; without restart they stay there."""
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=8, num_codes=8)
    objective = VectorQuantization(commitment=0.25, decay=0.99, restart_below=restart_below)
    with torch.no_grad():
        model.codebook.vectors[:3] = 50
        model.codebook.sums[:3] = 50 * 1e-5
        model.codebook.counts[:3] = 1e-5
        x = torch.rand(4, 1, 8, 8) * 2 - 1
        seen = objective.loss(model, "autoencoder", {"x": x}).seen
        objective.after_step(model, "autoencoder", [seen])
        rows = model.codebook.rows(model.encoder(x))
    at_latents = (torch.cdist(model.codebook.vectors[:3], rows).min(1).values < 1e-5).sum().item()
    assert at_latents == moved


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_reconstruction_sends_no_gradient_to_the_codebook(update: str) -> None:
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=8, update=update)
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    latents = model.encoder(x)
    quantized = model.codebook(latents)
    rebuilt = model.decoder(StraightThrough.apply(latents, quantized.vectors))
    F.mse_loss(rebuilt, x).backward()
    assert model.codebook.vectors.grad is None


def test_evaluation_leaves_the_codebook_alone() -> None:
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=8).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.reconstruct(torch.rand(4, 1, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_without_k_means_the_objective_has_no_state() -> None:
    assert not VectorQuantization(commitment=0.25, decay=0.99, restart_below=0.5).state_dict()


@pytest.mark.behaviour
@pytest.mark.parametrize(("kmeans_iterations", "holds"), [(10, True), (0, False)])
def test_k_means_begins_with_all_codes_in_use(kmeans_iterations: int, holds: bool) -> None:
    """After one step, on held-out digits: 31 of 64 with k-means, 1.5 without (the twin: codes at random near zero).

    It is a beginning only: the encoder moves away from either codebook within ten steps (2.0 and 2.0), restart brings
    the codes back.
    """
    perplexity = used(trained("vq-vae", steps=1, restart_below=0.0, kmeans_iterations=kmeans_iterations))
    assert perplexity > 20 if holds else perplexity < 5, perplexity


@torch.no_grad()
def mean_error(rebuilt: torch.Tensor) -> float:
    return (rebuilt - held_out()).square().mean().item()


@pytest.mark.behaviour
def test_reconstructs_better_than_the_mean_and_than_pca(measured) -> None:
    """PCA keeps as many numbers as there are code positions: four. Two seeds: 0.45 and 0.46. Twin: the mean image,
    which needs no code: 1.88."""
    train = digits("train").fetch(torch.arange(len(digits("train"))))["x"].flatten(1)
    test, mean = held_out().flatten(1), train.mean(0)
    _, _, axes = torch.linalg.svd(train - mean, full_matrices=False)
    pca = (test - mean) @ axes[:4].T @ axes[:4] + mean
    with torch.no_grad():
        rebuilt = trained("vq-vae", steps=400).reconstruct(held_out())
    linear, blank = mean_error(pca.view_as(rebuilt)), mean_error(mean.expand_as(test).view_as(rebuilt))
    measured(
        "vq-vae",
        "error over that of four principal axes; twin: the mean digit",
        figure=mean_error(rebuilt) / linear,
        twin=blank / linear,
        bar=1.0,
        better="lower",
    )


@pytest.mark.behaviour
def test_the_codebook_is_in_use() -> None:
    assert used(trained("vq-vae", steps=400)) > 30


@torch.no_grad()
def move_codes_away(model: gencore.Model) -> None:
    """A bad beginning: every code 5 units from the latents."""
    model.codebook.vectors.add_(5.0)
    model.codebook.sums.add_(5.0)


def used_after_a_bad_beginning(restart_below: float) -> float:
    recipe = gencore.recipe("vq-vae", steps=500, prior_steps=0, restart_below=restart_below)
    stage = dataclasses.replace(recipe.stages[0], begin=move_codes_away)
    return used(gencore.Trainer(dataclasses.replace(recipe, stages=(stage,)), digits("train"), cpu=True).fit().eval())


@pytest.mark.behaviour
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
        "vq-vae", data_shape=(1, 32, 32), width=16, steps=250, prior_steps=250, prior_layers=2, prior_width=40,
        num_classes=10, learning_rate=3e-3,
    )  # fmt: skip
    return gencore.Trainer(recipe, digits("train", 32), cpu=True).fit().eval()


@functools.cache
def frequencies() -> torch.Tensor:
    """How often each code stands at each place of the training digits, (64, 64)."""
    with torch.no_grad():
        seen = trained_large().encode(large("train")["x"]).flatten(1)
    return torch.stack([seen[:, place].bincount(minlength=64) for place in PLACES]).float()


@pytest.mark.behaviour
@torch.no_grad()
def test_prior_knows_more_than_the_frequencies() -> None:
    """Held-out nats a code under the prior, against the code frequencies at each place: three seeds, 0.64 to 0.72.
    Twin: labels shuffled, 0.44 to 0.49 nats more."""
    model, test = trained_large(), large("test")
    codes = model.encode(test["x"]).flatten(1)
    nats = code_nats(model.prior(codes[:, :-1], test["label"]), codes).mean()
    shuffled = code_nats(model.prior(codes[:, :-1], test["label"].roll(1)), codes).mean()
    unigram = nats_of_frequencies(codes)
    assert nats < 0.75 * unigram, (nats, unigram)
    assert shuffled > nats + 0.2


def nats_of_frequencies(codes: torch.Tensor) -> torch.Tensor:
    """-log p a code of codes (N, 64), each by how often it stands at its place."""
    counts = frequencies() + 1
    return -(counts / counts.sum(1, keepdim=True))[PLACES, codes].log().mean()


def nats_of_a_picture_density(embedding: int) -> torch.Tensor:
    """Held-out nats a code of a gated-pixelcnn over the same codes, after 250 steps."""
    model, train, test = trained_large(), large("train"), large("test")
    torch.manual_seed(0)
    sizes = {"width": 16, "layers": 3, "num_classes": 10, "embedding": embedding}
    prior = DensityPrior("gated-pixelcnn", (8, 8), 64, **sizes)
    optimizer = torch.optim.AdamW(prior.parameters(), lr=5e-3)
    with torch.no_grad():
        seen, held = model.encode(train["x"]), model.encode(test["x"])
    for _ in range(250):
        rows = torch.randint(len(seen), (32,))
        optimizer.zero_grad()
        prior.mean_nats(seen[rows], train["label"][rows]).backward()
        optimizer.step()
    with torch.no_grad():
        return prior.mean_nats(held, test["label"])


@pytest.mark.behaviour
@torch.no_grad()
def test_codes_are_no_greys() -> None:
    """Held-out nats a code under the gated prior, against the frequencies at each place: three seeds, 0.65 to 0.70.
    Twin: code k as grey level k, 1.00 to 1.04."""
    with torch.enable_grad():
        page, twin = (nats_of_a_picture_density(size) for size in (16, 0))
    unigram = nats_of_frequencies(trained_large().encode(large("test")["x"]).flatten(1))
    assert page < 0.85 * unigram, (page, unigram)
    assert twin > 0.85 * unigram, (twin, unigram)


@pytest.mark.behaviour
@torch.no_grad()
def test_samples_of_the_prior_are_nearer_to_digits_than_independent_codes() -> None:
    """Squared distance to the nearest training image. Twin: each place's code by its own frequency.

    Three seeds: 0.62 to 0.74 of the twin's distance; held-out digits themselves 0.29 to 0.32.
    """
    model, train = trained_large(), large("train")["x"]
    drawn = torch.multinomial(frequencies(), 300, replacement=True, generator=torch.Generator().manual_seed(0)).T
    independent = model.generate(drawn.unflatten(1, model.config.code_shape))

    def away(x: torch.Tensor) -> float:
        return torch.cdist(x.flatten(1), train.flatten(1)).min(1).values.square().mean().item()

    distances = away(model.sample(300)), away(independent)
    assert distances[0] < 0.8 * distances[1], distances
