"""The latent tools against closed forms, on models and data where the answer is known."""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

import gencore
from gencore.config import ModelConfig
from gencore.data import InMemory
from gencore.errors import GencoreError, PluginError
from gencore.latent import (
    GaussianCodes,
    anomaly_scores,
    auroc,
    cluster_accuracy,
    code_plane,
    combine,
    decode,
    encode_all,
    factor_vae_score,
    k_means,
    latent_map,
    lerp,
    mutual_information_gap,
    normalised_mutual_information,
    pca,
    reconstruct,
    scatter,
    select_by_margin,
    select_cluster_centres,
    select_k_centre,
    select_random,
    slerp,
    traverse,
    under_each,
    walk,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DoubleConfig(ModelConfig):
    data_shape: tuple[int, ...] = (3,)
    random: bool = False
    """Answer with distributions."""


class Double(gencore.Model):
    """z = 2 x, x = z / 2, and x ~ N(0, 1): every answer is known. In training mode it encodes to zeros."""

    config_class = DoubleConfig

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Any:
        z = 2 * x.flatten(1) * (not self.training)
        return Normal(z, torch.ones_like(z)) if self.config.random else z

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Any:
        x = z.unflatten(1, self.config.data_shape) / 2
        return Normal(x, torch.ones_like(x)) if self.config.random else x

    def log_prob(self, x: Tensor) -> Tensor:
        return Normal(0.0, 1.0).log_prob(x).flatten(1).sum(1)


def double(**config: Any) -> Double:
    return Double(DoubleConfig(**config))


# Codes


@pytest.mark.parametrize("random", [False, True])
def test_encode_all_in_batches_and_in_evaluation_mode(random: bool) -> None:
    x = torch.randn(10, 3)
    source = InMemory(x=x, label=torch.arange(10) % 2, num_classes=2)
    model = double(random=random).train()
    codes = encode_all(model, source, limit=7, batch_size=3)
    assert torch.equal(codes.z, 2 * x[:7])
    assert torch.equal(codes.label, source.label[:7])
    assert codes.index.tolist() == list(range(7))
    assert model.training
    assert encode_all(model, x).label is None
    assert torch.equal(encode_all(model, x, limit=1, batch_size=1).z, 2 * x[:1])
    torch.testing.assert_close(decode(model, codes.z, batch_size=2), x[:7])
    torch.testing.assert_close(reconstruct(model, x, batch_size=4), x)


def test_bad_data_and_models_are_named() -> None:
    images = double(data_shape=(1, 2, 2))
    with pytest.raises(GencoreError, match="127.5"):
        encode_all(images, torch.full((2, 1, 2, 2), 255.0))
    with pytest.raises(GencoreError, match="NaN"):
        encode_all(images, torch.full((2, 1, 2, 2), torch.nan))
    with pytest.raises(GencoreError, match="limit"):
        encode_all(images, torch.zeros(2, 1, 2, 2), limit=0)
    with pytest.raises(GencoreError, match="batch_size 0"):
        encode_all(images, torch.zeros(2, 1, 2, 2), batch_size=0)
    with pytest.raises(GencoreError, match="no encoder"):
        encode_all(gencore.create("gan"), torch.zeros(2, 1, 8, 8))
    with pytest.raises(GencoreError, match="no generator"):
        decode(gencore.Model(ModelConfig()), torch.zeros(2, 3))
    with pytest.raises(GencoreError, match="NaN"):
        decode(images, torch.full((2, 4), torch.nan))
    with pytest.raises(GencoreError, match="discrete codes"):
        encode_all(gencore.create("vq-vae", data_shape=[1, 8, 8], width=4), torch.zeros(2, 1, 8, 8))


def test_gaussian_codes_have_the_codes_moments() -> None:
    torch.manual_seed(0)
    z = torch.randn(500, 3) @ torch.tensor([[2.0, 0, 0], [1, 0.5, 0], [0, 0, 0]]) + torch.tensor([1.0, -2, 3])
    fitted = GaussianCodes.fit(z)
    torch.testing.assert_close(fitted.root @ fitted.root.T, torch.cov(z.T), atol=1e-4, rtol=1e-4)
    calls: list[tuple[int, int]] = []
    drawn = 2 * double().sample(4000, sampler=fitted, callback=lambda *call: calls.append(call))
    assert set(calls) == {(1, 1)}
    torch.testing.assert_close(drawn.mean(0), z.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(z.T), atol=0.4, rtol=0)
    with pytest.raises(GencoreError, match="more than 3"):
        GaussianCodes.fit(z[:3])


# Walks


def test_slerp_keeps_angles_and_lengths() -> None:
    """Ends exact, equal angles for equal t, the length in between linear."""
    torch.manual_seed(0)
    a, b = torch.randn(5, 8, dtype=torch.float64), 3 * torch.randn(5, 8, dtype=torch.float64)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    path = [slerp(a, b, t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    cosines = torch.stack([torch.cosine_similarity(p, q) for p, q in itertools.pairwise(path)])
    torch.testing.assert_close(cosines, cosines[:1].expand(4, -1))
    torch.testing.assert_close(path[1].norm(dim=1), 0.75 * a.norm(dim=1) + 0.25 * b.norm(dim=1))
    quarter = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5)
    torch.testing.assert_close(quarter, torch.full((2,), math.sqrt(0.5)))


def test_lerp_leaves_the_shell_and_slerp_does_not() -> None:
    """In 256 dimensions the middle of two normal codes is shorter by sqrt(1/2)."""
    ends = torch.randn(2, 500, 256, generator=torch.Generator().manual_seed(0))
    length = ends.norm(dim=-1).mean()
    assert (lerp(*ends, 0.5).norm(dim=-1) / length).mean().item() == pytest.approx(math.sqrt(0.5), abs=0.05)
    assert (slerp(*ends, 0.5).norm(dim=-1) / length).mean().item() == pytest.approx(1, abs=0.05)


def test_slerp_of_near_and_opposite_codes() -> None:
    a = torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    torch.testing.assert_close(slerp(a, a + 1e-6, 0.5), a, atol=1e-5, rtol=0)
    with pytest.raises(GencoreError, match="opposite"):
        slerp(a, -a, 0.5)
    with pytest.raises(GencoreError, match="length 0"):
        slerp(a, 0 * a, 0.5)


def test_walk_traverse_and_plane() -> None:
    model = double(data_shape=(2,))
    a, b = torch.tensor([[0.0, 4.0]]), torch.tensor([[4.0, 0.0]])
    assert walk(model, a, b, steps=3, path="lerp").tolist() == [[[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]]]
    torch.testing.assert_close(walk(model, a, b, steps=3)[0, 1], torch.full((2,), math.sqrt(2)))
    crossed = traverse(model, torch.tensor([6.0, 8.0]), dims=(1,), steps=3)
    assert crossed.tolist() == [[[3.0, -1.0], [3.0, 0.0], [3.0, 1.0]]]
    plane = code_plane(model, torch.tensor([[0.0, 0.0], [2.0, 6.0]]), side=2, margin=0.0)
    assert plane.tolist() == [[[0.0, 3.0], [1.0, 3.0]], [[0.0, 0.0], [1.0, 0.0]]], "right and up"


def test_arithmetic_is_of_means() -> None:
    big_square, small_square, small_circle = (torch.tensor(v) for v in ([[4.0, 0]], [[1.0, 0], [3, 0]], [[0.0, 5]]))
    assert combine((big_square, small_circle), (small_square,)).tolist() == [2.0, 5.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, z: walk(m, z, z, steps=1), "steps"),
        (lambda m, z: walk(m, z, z, path="crow"), "crow"),
        (lambda m, z: walk(m, z, z[:1]), "equal shapes"),
        (lambda m, z: traverse(m, z[0], dims=(5,)), "dims"),
        (lambda m, z: traverse(m, z, dims=(0,)), "one code"),
        (lambda m, z: code_plane(m, z), "2: a plane"),
        (lambda m, z: combine((), ()), "plus is empty"),
        (lambda m, z: latent_map(z, method="code"), "2 for method"),
        (lambda m, z: latent_map(z, method="tsne"), "at least 10"),
        (lambda m, z: latent_map(z, method="star"), "star"),
        (lambda m, z: latent_map(z * torch.nan), "NaN"),
        (lambda m, z: scatter(z), r"\(N, 2\)"),
        (lambda m, z: scatter(z[:, :2], torch.arange(9)), "one each"),
        (lambda m, z: k_means(z, 5), "different codes"),
        (lambda m, z: cluster_accuracy(torch.zeros(2), torch.zeros(3)), "both"),
        (lambda m, z: auroc(torch.zeros(2), torch.tensor([True, True])), "some of both"),
        (lambda m, z: auroc(torch.tensor([0.0, torch.nan]), torch.tensor([True, False])), "NaN"),
        (lambda m, z: anomaly_scores(m, z, by="smell"), "smell"),
        (lambda m, z: anomaly_scores(gencore.create("gan"), torch.zeros(2, 1, 8, 8)), "cannot reconstruct"),
        (lambda m, z: anomaly_scores(gencore.create("gan"), torch.zeros(2, 1, 8, 8), by="likelihood"), "no likelihood"),
        (lambda m, z: mutual_information_gap(z, torch.zeros(4, 1).long()), "one value only"),
        (lambda m, z: mutual_information_gap(z, torch.zeros(3, 1).long()), r"\(4, K\)"),
        (lambda m, z: mutual_information_gap(z * torch.nan, torch.arange(4)[:, None]), "NaN"),
        (lambda m, z: k_means(z * torch.nan, 2), "NaN"),
        (lambda m, z: select_k_centre(z * torch.inf, 1), "infinity"),
        (lambda m, z: walk(m, z, z * torch.nan), "NaN"),
        (lambda m, z: factor_vae_score(torch.ones(4, 2), torch.arange(4)[:, None]), "collapsed"),
        (lambda m, z: select_random(4, 5), "count"),
        (lambda m, z: select_by_margin(z[:, :1], 1), "two classes"),
        (lambda m, z: select_k_centre(z, 3, chosen=torch.tensor([0, 1])), "count"),
    ],
)
def test_bad_arguments_are_named(call: Any, message: str) -> None:
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(GencoreError, match=message):
        call(double(), z)


# Maps and pictures


def test_pca_is_the_eigenvectors() -> None:
    torch.manual_seed(0)
    z = torch.randn(200, 4) * torch.tensor([1.0, 5.0, 0.1, 2.0])
    places = pca(z, 2)
    values = torch.linalg.eigvalsh(torch.cov(z.T)).flip(0)
    torch.testing.assert_close(torch.cov(places.T), torch.diag(values[:2]), atol=1e-3, rtol=1e-3)
    assert torch.corrcoef(torch.stack([places[:, 0], z[:, 1]]))[0, 1] > 0.99
    torch.testing.assert_close(pca(z.flip(0), 2).flip(0), places)
    assert pca(z[:, :1], 2)[:, 1].abs().max() == 0


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    for method, distribution in (("umap", "umap-learn"), ("tsne", "scikit-learn")):
        with pytest.raises(PluginError, match=rf'{distribution}.*pip install "gencore\[eval\]"'):
            latent_map(torch.randn(20, 3), method=method)


def test_scatter_draws_each_class_where_it_is() -> None:
    """Two classes at the left and the right edge: the colours differ, and the legend shows both."""
    places = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    image = scatter(places, torch.tensor([0, 0, 1, 1]), size=200)
    corners = [image.getpixel((x, y)) for x in (10, 190) for y in (10, 190)]
    assert image.size == (200, 200)
    assert corners[0] == corners[1] != corners[2] == corners[3]
    assert image.getpixel((100, 100)) == (255, 255, 255)
    assert image.getpixel((8, 12)) != image.getpixel((8, 26))
    upper = scatter(torch.tensor([[0.0, 0.0], [0.1, 1.0]]), size=200)
    assert upper.getpixel((100 + 9, 10)) != (255, 255, 255), "the second number grows upwards"


# Clusters


def test_cluster_measures_ignore_names() -> None:
    label = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    renamed = torch.tensor([7, 7, 7, 2, 2, 0, 0, 0])
    assert cluster_accuracy(renamed, label) == 1
    assert normalised_mutual_information(renamed, label) == pytest.approx(1)
    assert cluster_accuracy(torch.zeros(8).long(), label) == 3 / 8
    assert normalised_mutual_information(torch.zeros(8).long(), label) == pytest.approx(0)


def test_k_means_finds_blobs() -> None:
    torch.manual_seed(0)
    label = torch.arange(90) % 3
    z = torch.tensor([[0.0, 0], [10, 0], [0, 10]])[label] + torch.randn(90, 2)
    clusters, centres = k_means(z, 3)
    assert cluster_accuracy(clusters, label) == 1
    torch.testing.assert_close(centres[clusters[0]], z[label == label[0]].mean(0))
    assert k_means(z[:4], 4)[0].unique().tolist() == [0, 1, 2, 3]


# Anomalies


def test_auroc_counts_pairs() -> None:
    torch.manual_seed(0)
    scores, anomalous = torch.randint(0, 6, (60,)).float(), torch.rand(60) < 0.4
    pairs = scores[anomalous][:, None] - scores[~anomalous]
    assert auroc(scores, anomalous) == pytest.approx(((pairs > 0).float() + 0.5 * (pairs == 0)).mean().item())
    assert auroc(torch.tensor([1.0, 2, 3]), torch.tensor([False, False, True])) == 1


def test_likelihood_scores_are_the_negative_log_density() -> None:
    """AUROC of the model's scores is that of the true density; a bound is used where there is no log_prob."""
    torch.manual_seed(0)
    x = torch.cat([torch.randn(200, 3), 2 * torch.randn(200, 3)])
    scores = anomaly_scores(double(), x, by="likelihood")
    torch.testing.assert_close(scores, 0.5 * x.square().sum(1) + 1.5 * math.log(2 * math.pi))

    class Bounded(Double):
        log_prob = property()

        def bound(self, x: Tensor, k: int) -> Tensor:
            return Double.log_prob(self, x) - 1 / k

    torch.testing.assert_close(anomaly_scores(Bounded(DoubleConfig()), x, by="likelihood", k=4), scores + 0.25)
    torch.testing.assert_close(anomaly_scores(double(), x), torch.zeros(400))


# Factors


def factors() -> Tensor:
    """3 shapes x 6 sizes x 8 x 8 places, every combination once."""
    return torch.cartesian_prod(*(torch.arange(n) for n in (3, 6, 8, 8)))


def codes_of(kind: str) -> Tensor:
    torch.manual_seed(0)
    v = factors().float()
    oracle = (v - v.mean(0)) / v.std(0) + 0.05 * torch.randn_like(v)
    if kind == "random":
        return torch.randn_like(v)
    return oracle if kind == "oracle" else oracle @ torch.linalg.qr(torch.randn(4, 4)).Q


@pytest.mark.parametrize(
    ("kind", "gap", "score"),
    [("oracle", (0.85, 1), (0.99, 1)), ("rotated", (0, 0.25), (0, 0.9)), ("random", (0, 0.01), (0, 0.5))],
)
def test_disentanglement_tells_an_oracle_from_its_rotation(kind: str, gap: tuple, score: tuple) -> None:
    z = codes_of(kind)
    assert gap[0] <= mutual_information_gap(z, factors()) <= gap[1]
    assert score[0] <= factor_vae_score(z, factors()) <= score[1]


def test_dead_numbers_do_not_vote() -> None:
    z = torch.cat([codes_of("oracle"), torch.zeros(1152, 1)], 1)
    assert factor_vae_score(z, factors()) > 0.99


# Selection


def naive_k_centre(z: Tensor, count: int, chosen: list[int]) -> list[int]:
    distance = torch.cdist(z, z)
    chosen = chosen or [int((z - z.mean(0)).norm(dim=1).argmin())]
    while len(chosen) < count:
        chosen.append(int(distance[:, chosen].min(1).values.argmax()))
    return chosen


def radius(z: Tensor, chosen: tuple[int, ...]) -> float:
    return torch.cdist(z, z)[:, list(chosen)].min(1).values.max().item()


def test_k_centre_is_farthest_first_and_within_twice_the_best() -> None:
    z = torch.randn(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    picked = select_k_centre(z, 4)
    assert picked.tolist() == naive_k_centre(z, 4, [])
    best = min(radius(z, chosen) for chosen in itertools.combinations(range(12), 4))
    assert radius(z, tuple(picked.tolist())) <= 2 * best
    more = select_k_centre(z, 3, chosen=torch.tensor([5, 7]))
    assert [5, 7, *more.tolist()] == naive_k_centre(z, 5, [5, 7])


def test_nothing_is_chosen_twice() -> None:
    z = torch.randn(30, 2, generator=torch.Generator().manual_seed(0)).repeat(2, 1)
    for picked in (select_k_centre(z, 60), select_random(60, 60), select_cluster_centres(z, 30)):
        assert picked.unique().numel() == len(picked)


def test_margin_takes_the_closest_call() -> None:
    logits = torch.tensor([[9.0, 0, 0], [1.0, 0.9, 0], [3.0, 0, 2.5], [0.0, 0, -9]])
    assert select_by_margin(logits, 3).tolist() == [3, 1, 2]


class Told(gencore.Model):
    """Generates the sum of a code's numbers, and the condition that it is told."""

    config_class = DoubleConfig

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        assert condition is not None
        return torch.stack([z.sum(1), condition.float()], 1)


def test_each_code_under_each_condition() -> None:
    """Row i, column k: code i, condition k; a walk's row has its own condition, a traverse one for all."""
    model, z, classes = Told(DoubleConfig()), torch.tensor([[1.0, 2.0], [5.0, 0.0]]), torch.tensor([7, 4, 9])
    made = under_each(model, z, classes)
    assert made[..., 0].tolist() == [[3] * 3, [5] * 3]
    assert made[..., 1].tolist() == [[7, 4, 9]] * 2
    walked = walk(model, z, z + 1, steps=2, path="lerp", condition=classes[:2])
    assert walked.tolist() == [[[3, 7], [5, 7]], [[5, 4], [7, 4]]]
    crossed = traverse(model, z[0], dims=(0, 1), steps=3, condition=classes[:1])
    assert (crossed[..., 1] == 7).all()
    assert torch.equal(decode(model, z, condition=classes[:2], batch_size=1), decode(model, z, condition=classes[:2]))
