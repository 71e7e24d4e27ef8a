"""Deep embedded clustering: its formulas, its stages, and clusters that get better by it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.data import InMemory, digits
from gencore.errors import GencoreError
from gencore.latent import cluster_accuracy, encode_all, k_means, normalised_mutual_information
from gencore_ae import deep_clustering
from gencore_ae.deep_clustering import Clustering, drop_anchor, log_assignment, sharpened, with_targets

TRAIN = digits("train").fetch(torch.arange(1400))


def recipe(**arguments: Any) -> gencore.Recipe:
    return gencore.recipe("deep-embedded-clustering", **{"num_clusters": 4, "code_dim": 3, "hidden": (8,), **arguments})


def model(**arguments: Any) -> Any:
    made = recipe(**arguments)
    torch.manual_seed(0)
    return made.model(made.config)


def test_assignments_are_students_t() -> None:
    """Equation 1, by loops; rows sum to one; renaming the clusters renames the columns."""
    torch.manual_seed(0)
    z, centres = torch.randn(6, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    q = log_assignment(z, centres).exp()
    for i in range(6):
        kernels = [1 / (1 + (z[i] - centre).square().sum()) for centre in centres]
        torch.testing.assert_close(q[i], torch.stack(kernels) / sum(kernels))
    torch.testing.assert_close(q.sum(1), torch.ones(6, dtype=torch.float64))
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(log_assignment(z, centres[order]).exp(), q[:, order])


def test_targets_sharpen_and_even_out() -> None:
    """Equation 3, by loops: rows sum to one, the sure get surer, and a cluster that has much gets less."""
    q = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]], dtype=torch.float64)
    p = sharpened(q)
    f = q.sum(0)
    for i in range(3):
        weight = q[i] ** 2 / f
        torch.testing.assert_close(p[i], weight / weight.sum())
    torch.testing.assert_close(p.sum(1), torch.ones(3, dtype=torch.float64))
    assert p[0, 0] > q[0, 0]
    assert sharpened(torch.tensor([[0.5, 0.5], [0.9, 0.1]]))[0, 0] < 0.5


def test_loss_is_the_divergence_and_zero_at_its_target() -> None:
    made, x = model(), TRAIN["x"][:7]
    q = made.judge(x).exp().detach()
    loss = Clustering().loss(made, "clustering", {"x": x, "target": sharpened(q)}).total
    p = sharpened(q)
    torch.testing.assert_close(loss, (p * (p / q).log()).sum(1).mean())
    assert Clustering().loss(made, "clustering", {"x": x, "target": q}).total.abs() < 1e-6


def test_centres_begin_at_k_means_and_only_once() -> None:
    """And P is that of all data at the anchor, whatever the encoder does afterwards: a resume makes the same one."""
    made, source = model(), digits("train")
    drop_anchor(made)
    first = with_targets(source, made)
    z = encode_all(made, source).z
    torch.testing.assert_close(made.centres.detach(), k_means(z, 4, restarts=20)[1])
    torch.testing.assert_close(first.target, sharpened(log_assignment(z, made.centres.detach()).exp()))
    with torch.no_grad():
        for parameter in made.embedding:
            parameter.add_(0.1 * torch.randn_like(parameter))
    moved = made.centres.detach().clone()
    again = with_targets(source, made)
    assert torch.equal(again.target, first.target)
    assert torch.equal(made.centres, moved), "k-means is for the beginning"
    drop_anchor(made)
    assert not torch.allclose(with_targets(source, made).target, first.target)
    assert torch.equal(first.fetch(torch.tensor([5, 2]))["target"], first.target[[5, 2]])


def test_targets_are_held_for_a_stage() -> None:
    made = recipe(steps=7, clustering_steps=300, refresh=140)
    assert [stage.steps for stage in made.stages] == [7, 140, 140, 20]
    assert [stage.steps for stage in recipe(steps=7, clustering_steps=0).stages] == [7, 0]


def test_clustering_trains_encoder_and_centres() -> None:
    trainer = gencore.Trainer(recipe(steps=0, clustering_steps=3), digits("train"), cpu=True)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    after = trainer.fit().state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"encoder", "centres", "anchor", "begun"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_clusters": 1}, "num_clusters"),
        ({"refresh": 0}, "refresh"),
        ({"clustering_steps": -1}, "clustering_steps"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        recipe(**arguments)


def test_more_clusters_than_data_are_refused() -> None:
    few = InMemory(x=TRAIN["x"][:3])
    with pytest.raises(GencoreError, match=r"count is 4; expected 1 to 3, the number of different codes"):
        gencore.Trainer(recipe(steps=0, batch_size=3), few, cpu=True).fit()


# Behaviour


class AtTheBeginning:
    """k-means on the codes of the trained autoencoder, before clustering begins."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_step(self, trainer: gencore.Trainer) -> None:
        if trainer.iteration == self.iteration:
            self.scores = scores(k_means(encode_all(trainer.model, TRAIN["x"]).z, 10, restarts=20)[0])


def scores(clusters: Tensor) -> Tensor:
    """Accuracy and normalised mutual information with the classes, which nothing was trained on."""
    label = TRAIN["label"]
    return torch.tensor([cluster_accuracy(clusters, label), normalised_mutual_information(clusters, label)])


def gain(seed: int) -> Tensor:
    """What clustering adds to k-means in the same autoencoder's codes."""
    made = gencore.recipe("deep-embedded-clustering", steps=500, clustering_steps=420, batch_size=128)
    start = AtTheBeginning(500)
    trained: Any = gencore.Trainer(made, digits("train"), seed=seed, cpu=True, callbacks=(start,)).fit().eval()
    with torch.no_grad():
        return scores(trained.judge(TRAIN["x"]).argmax(1)) - start.scores


@pytest.mark.behaviour
def test_clusters_get_better_than_k_means_in_the_codes(measured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seeds. Twin: targets that are not sharper, P = Q, which leave the clusters where they are. Baseline, not
    beaten by every seed: k-means on the 8 x 8 pixels, 0.796 and 0.755."""
    gains = torch.stack([gain(seed) for seed in range(3)])
    assert (gains.mean(0) > torch.tensor([0.005, 0.025])).all(), gains
    monkeypatch.setattr(deep_clustering, "sharpened", lambda q: q)
    twin = gain(0)
    assert twin.abs().max() < 0.01, twin
    measured(
        "deep-embedded-clustering",
        "mutual information with the classes gained over k-means, least of three seeds",
        figure=gains[:, 1].min().item(),
        twin=twin[1].item(),
        bar=0.015,
        better="higher",
    )
