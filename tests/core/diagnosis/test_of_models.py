"""Failures that data, samples and weights show: each provoked in a real little model that is broken on purpose, and not
found in what it was before."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gencore
from gencore.data import open_source
from gencore.diagnosis import of_data, of_samples, of_weights
from gencore.diagnosis.finding import NotJudgedError


@pytest.fixture(scope="module")
def digits() -> dict[str, torch.Tensor]:
    source = open_source("digits")
    return source.fetch(torch.randperm(len(source), generator=torch.Generator().manual_seed(0))[:1000])


def test_a_wrong_range_squeezes_the_data(tmp_path, digits: dict[str, torch.Tensor]) -> None:
    grey = ((digits["x"] + 1) * 127.5).round().numpy().astype(np.uint16)
    np.save(tmp_path / "grey.npy", grey)
    for high, wrong in ((255.0, False), (4095.0, True)):
        source = open_source(str(tmp_path / "grey.npy"), data_range=(0.0, high))
        assert of_data.range_wrong(source.fetch(torch.arange(200))["x"]).found is wrong
    points = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    assert [of_data.range_wrong(points * scale).found for scale in (1.0, 1000.0, 1e-3)] == [False, True, True]


def test_a_generator_that_ignores_its_noise_draws_one_picture(digits: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(0)
    model = gencore.create("vae", hidden=[32], data_shape=[1, 8, 8])
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(3.0)
        assert not of_samples.one_picture(model.sample(100), digits["x"]).found
        first = next(p for p in model.decoder.parameters() if p.ndim == 2)
        first.zero_()
    assert of_samples.one_picture(model.sample(100), digits["x"]).found


def test_samples_of_few_classes_and_of_the_wrong_ones(digits: dict[str, torch.Tensor]) -> None:
    x, label = digits["x"], digits["label"]
    noisy = x[:300] + 0.2 * torch.randn(x[:300].shape, generator=torch.Generator().manual_seed(1))
    classes = of_samples.nearest_classes(noisy, x[300:], label[300:])
    accuracy = (classes == label[:300]).float().mean().item()
    assert accuracy > 0.85
    assert not of_samples.few_classes(classes, label).found
    assert of_samples.few_classes(classes[label[:300] < 4], label).found
    assert not of_samples.labels_ignored(classes, label[:300], accuracy, 10).found
    assert of_samples.labels_ignored(classes, label[:300].roll(1), accuracy, 10).found
    with pytest.raises(NotJudgedError, match="50% of the data only"):
        of_samples.check_trusted(0.5)


def test_large_pictures_are_shrunk_before_they_are_compared() -> None:
    draw = torch.Generator().manual_seed(0)
    kinds = torch.randn(2, 1, 4, 4, generator=draw).repeat_interleave(16, 2).repeat_interleave(16, 3)
    label = torch.arange(40) % 2
    x = kinds[label] + 3 * torch.randn(40, 1, 64, 64, generator=draw)
    assert (of_samples.nearest_classes(x[:10], x[10:], label[10:]) == label[:10]).all()


def test_effective_classes_and_ordered_pairs_by_hand() -> None:
    assert of_samples.effective_classes(torch.tensor([3, 3, 3])) == pytest.approx(1)
    assert of_samples.effective_classes(torch.tensor([0, 1, 2, 0, 1, 2])) == pytest.approx(3)
    assert of_samples.ordered_right(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0])) == pytest.approx(3.5 / 4)


def test_a_critic_that_cannot_see_is_blind(digits: dict[str, torch.Tensor]) -> None:
    trainer = gencore.Trainer(gencore.recipe("gan", steps=20, hidden=(32,)), open_source("digits"), cpu=True)
    model, x = trainer.fit().eval(), digits["x"][:200]
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert not of_samples.critic_blind(model.judge(x), model.judge(noise)).found
        for parameter in model.critic.parameters():
            parameter.zero_()
        assert of_samples.critic_blind(model.judge(x), model.judge(noise)).found


def test_a_posterior_that_is_the_prior_has_collapsed(digits: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(0)
    model = gencore.create("vae", hidden=[32], data_shape=[1, 8, 8])
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(2.0)
        assert not of_weights.posterior_collapse(model.encode(digits["x"]).mean).found
        for parameter in model.encoder.parameters():
            parameter.mul_(0.01)
        assert of_weights.posterior_collapse(model.encode(digits["x"]).mean).found


@pytest.mark.parametrize("system", ["vq-vae", "grouped-vq-vae"])
def test_codes_that_no_latent_comes_near_are_dead(system: str, digits: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(0)
    model = gencore.create(system, data_shape=[1, 8, 8], width=8, prior_width=8, prior_layers=1)
    books, count = model.config.books, model.config.num_codes
    with torch.no_grad():
        model.codebook.begin(model.encoder(digits["x"]), iterations=5)
        assert not of_weights.dead_codes(model.encode(digits["x"]), count, books=books).found
        last = model.codebook.vectors if books is None else model.codebook.vectors[-1]
        last[3:] = 1e3
    finding = of_weights.dead_codes(model.encode(digits["x"]), count, books=books)
    assert finding.found
    assert finding.measured.startswith("3 of ")


def test_an_average_that_stayed_behind() -> None:
    """Along the way from 0 to 2, to the bar, and not where it only swings around the live weights."""
    initial, live = {"w": torch.zeros(4)}, {"w": torch.full((4,), 2.0)}
    for come, found in ((0.4, True), (1.8, False)):
        finding = of_weights.average_behind(initial, {"w": torch.full((4,), come)}, live)
        assert finding.found is found
        assert finding.measured.startswith(f"the average has come {come / 2:.0%}")
    aside = {"w": torch.tensor([5.0, -1.0, 5.0, -1.0])}
    assert not of_weights.average_behind(initial, aside, live).found
    with pytest.raises(NotJudgedError, match="untrained ones"):
        of_weights.average_behind(initial, initial, initial)


@pytest.mark.parametrize(
    ("now", "still", "worse"),
    [
        (50.0, False, False),
        (99.0, True, False),
        (101.0, True, False),
        (200.0, False, True),
        (float("nan"), False, True),
    ],
)
def test_a_loss_beside_the_untrained_one(now: float, still: bool, worse: bool) -> None:
    assert of_weights.not_learning(100.0, now).found is still
    assert of_weights.worse_than_untrained(100.0, now).found is worse
