"""AnoGAN: the score by hand, players that stay as they are, and digits that are no zeros."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from gencore.latent import auroc
from tests.plugins.default_sampler import draws_nearer


def made(**arguments: Any) -> tuple[Any, torch.Tensor]:
    torch.manual_seed(0)
    return gencore.create("anogan", hidden=[16], latent_dim=3, **arguments), torch.rand(5, 1, 8, 8) * 2 - 1


def test_the_score_by_hand() -> None:
    """(1 - share) sum |x - G(z)| + share sum |f(x) - f(G(z))|, f the critic's last hidden layer."""
    model, x = made(feature_share=0.3, search_steps=10)
    with torch.no_grad():
        found = model.search(x)
        image = model.generate(found.z)
        features = [torch.nn.functional.leaky_relu(model.critic[0][1](v.flatten(1)), 0.2) for v in (x, image)]
    pixels = (x - image).double().abs().flatten(1).sum(1)
    expected = 0.7 * pixels + 0.3 * (features[0] - features[1]).double().abs().sum(1)
    torch.testing.assert_close(model.anomaly_scores(x).double(), expected)
    torch.testing.assert_close(model.reconstruct(x), image)
    torch.testing.assert_close(model.encode(x), found.z)


def test_the_search_lowers_the_score_and_leaves_the_players_alone() -> None:
    scores = []
    for steps in (0, 10, 100):
        model, x = made(search_steps=steps)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        scores.append(model.anomaly_scores(x))
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert all(p.grad is None for p in model.parameters())
    assert (scores[0] > scores[1]).all()
    assert (scores[1] > scores[2]).all()


def test_scores_do_not_depend_on_the_batch() -> None:
    """But on the place in it, by the start of the search."""
    model, x = made(search_steps=20)
    torch.testing.assert_close(model.anomaly_scores(x)[:2], model.anomaly_scores(x[:2]), rtol=1e-4, atol=1e-4)


def test_what_is_normal() -> None:
    """One class by default; all data, labelled or not, for ()."""
    source = digits("train")
    view = gencore.recipe("anogan", normal_classes=(0, 6)).stages[0].data(source, None)
    assert view.fetch(torch.arange(len(view)))["label"].unique().tolist() == [0, 6]
    bare = dataclasses.replace(source, label=None, num_classes=None)
    with pytest.raises(GencoreError, match=r"normal_classes=\(\)"):
        gencore.recipe("anogan").stages[0].data(bare, None)
    assert gencore.recipe("anogan", normal_classes=()).stages[0].data(bare, None) is bare
    with pytest.raises(GencoreError, match="feature_share"):
        gencore.create("anogan", feature_share=1.5)


@pytest.mark.behaviour
def test_anomalies_have_no_code(measured) -> None:
    """1200 and 150 steps, seed 0: 0.840, twin 0.495. A model of zeros alone finds the others with 1.000, but so does
    the distance to any of its samples, 0.996: one class is no test of the search."""
    recipe = gencore.recipe(
        "anogan", steps=1200, search_steps=150, search_rate=0.05, normal_classes=tuple(range(1, 10))
    )
    model = gencore.Trainer(recipe, digits("train"), seed=0, cpu=True).fit().eval()
    source = digits("test")
    draws_nearer(model, source.x[source.label != 0])
    scores = model.anomaly_scores(source.x)
    starts = model.generate(model.draw_prior(gencore.Noise(0, 0, len(source.x)))).detach()
    random = (source.x - starts).abs().flatten(1).sum(1)
    figure, twin = auroc(scores, source.label == 0), auroc(random, source.label == 0)
    measured(
        "anogan",
        "AUROC of zeros, for a model of all other digits; the twin takes a random code for the found one",
        figure=figure,
        twin=twin,
        bar=0.7,
        better="higher",
    )
