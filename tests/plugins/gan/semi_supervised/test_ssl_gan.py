"""The critic of K + 1 classes: a softmax with one logit fixed, feature matching, and what goes where."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

import gencore
from gencore.errors import GencoreError
from tests.plugins.default_sampler import draws_nearer


def made(**arguments: Any) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    given = {"hidden": (16,), "latent_dim": 3, "first_noise": 0.0, "layer_noise": 0.0, **arguments}
    recipe = gencore.recipe("ssl-gan", **given)
    x = torch.rand(12, 1, 8, 8) * 2 - 1
    batch = {"x": x[:6], "label": torch.arange(6), "x_unlabelled": x[6:]}
    return recipe.model(recipe.config), recipe.stages[0].objective, batch


def test_it_is_a_softmax_of_k_plus_one_logits_the_last_of_them_zero() -> None:
    """D = 1 - P(K + 1 | x); the critic's loss is the explicit softmax's, with halves on real and generated."""
    model, objective, batch = made()
    torch.manual_seed(1)
    loss = objective.loss(model, "critic", batch).total
    torch.manual_seed(1)
    fake = model.generate(torch.randn(6, 3)).detach()

    def log_generated(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = torch.cat([model.class_logits(x), torch.zeros(len(x), 1)], 1).double().log_softmax(1)
        return logits[:, 10], torch.log1p(-logits[:, 10].exp())

    named = cross_entropy(model.class_logits(batch["x"]).double(), batch["label"])
    expected = named - 0.5 * log_generated(batch["x_unlabelled"])[1].mean() - 0.5 * log_generated(fake)[0].mean()
    torch.testing.assert_close(loss.double(), expected)
    torch.testing.assert_close(model.judge(fake).sigmoid().double(), 1 - log_generated(fake)[0].exp())


def test_the_game_by_hand() -> None:
    """All logits 0: L = log 10, D = 10 / 11, so 1/2 log(11 / 10) + 1/2 log 11, and log 10 for the names."""
    model, objective, batch = made(unlabelled_weight=3.0)
    model.class_logits = lambda x: torch.zeros(len(x), 10)
    loss = objective.loss(model, "critic", batch)
    game = 0.5 * math.log(1.1) + 0.5 * math.log(11)
    assert loss.metrics["game"].item() == pytest.approx(game, rel=1e-5)
    assert loss.total.item() == pytest.approx(math.log(10) + 3 * game, rel=1e-5)


def test_the_generator_matches_mean_features() -> None:
    model, objective, batch = made()
    torch.manual_seed(1)
    loss = objective.loss(model, "generator", batch).total
    torch.manual_seed(1)
    fake = model.critic.trunk(model.generate(torch.randn(6, 3))).double()
    real = model.critic.trunk(batch["x_unlabelled"]).double()
    torch.testing.assert_close(loss.double(), (real.mean(0) - fake.mean(0)).square().sum())
    loss.backward()
    assert all(p.grad is not None for p in model.generator.parameters())


def test_hidden_layers_of_the_generator_are_normalised() -> None:
    """And nothing else: four draws through 3 -> 16 -> 64 by hand."""
    model, _, _ = made()
    first, norm, _, last, _ = model.generator
    z = torch.randn(4, 3)
    h = z @ first.weight.T + first.bias
    h = (h - h.mean(0)) / (h.var(0, correction=0) + norm.eps).sqrt()
    h = torch.nn.functional.leaky_relu(h, 0.2)
    torch.testing.assert_close(model.generate(z).flatten(1), (h @ last.weight.T + last.bias).tanh())


def test_no_generator_gradient_from_the_critics_loss() -> None:
    model, objective, batch = made()
    objective.loss(model, "critic", batch).total.backward()
    assert all(p.grad is None for p in model.generator.parameters())


def test_noise_is_in_training_only() -> None:
    model, _, batch = made(first_noise=0.3, layer_noise=0.5)
    x = batch["x"]
    assert not torch.equal(model.train().class_logits(x), model.class_logits(x))
    assert torch.equal(model.eval().class_logits(x), model.class_logits(x))
    added = model.critic.trunk[1].train()(torch.zeros(20_000))
    assert added.std().item() == pytest.approx(0.3, rel=0.03)


def test_few_labels_are_seen_and_all_images() -> None:
    """Twenty labels: each class twice; the stream without labels holds all 1400."""
    source = gencore.data.digits("train")
    recipe = gencore.recipe("ssl-gan", num_labels=20, batch_size=8)
    view = recipe.stages[0].data(source, None)
    assert len(view) == 1400
    seen = {int(i) for i in view.source.fetch(torch.arange(len(view.source)))["index"]}
    labels = source.label[torch.tensor(sorted(seen))]
    assert labels.bincount(minlength=10).tolist() == [2] * 10
    assert "label_unlabelled" not in view.fetch(torch.arange(4))


def test_bad_arguments() -> None:
    for arguments, match in (
        ({"unlabelled_weight": -1.0}, "unlabelled_weight"),
        ({"num_classes": 1}, "num_classes"),
        ({"layer_noise": -0.1}, "layer_noise"),
    ):
        with pytest.raises(GencoreError, match=match):
            gencore.recipe("ssl-gan", **arguments)


@pytest.mark.behaviour
def test_unlabelled_digits_help_where_labels_are_few(measured: Any) -> None:
    """At seeds 0, 1, 2 after 650 steps: 0.834, 0.844, 0.851; by the labels alone, same network, 0.746, 0.761, 0.703."""
    source, figures = gencore.data.digits("test"), []
    for weight in (1.0, 0.0):
        recipe = gencore.recipe("ssl-gan", steps=650, num_labels=20, unlabelled_weight=weight)
        model = gencore.Trainer(recipe, gencore.data.digits("train"), seed=0, cpu=True).fit().eval()
        if weight:
            draws_nearer(model, source.x)
        with torch.no_grad():
            figures.append((model.classify(source.x) == source.label).float().mean().item())
    measured(
        "ssl-gan",
        "accuracy on held-out digits with 20 labels; the twin has the labels alone",
        figure=figures[0],
        twin=figures[1],
        bar=0.79,
        better="higher",
    )
