from __future__ import annotations

import hashlib
from importlib import resources

import pytest
import torch
from sklearn.datasets import load_digits

from gencore.data import Batches, check_batch, digits, gaussian, ring
from gencore.errors import GencoreError


def test_digits_are_those_of_scikit_learn() -> None:
    reference = load_digits()
    batch = digits("all").fetch(torch.arange(1797))
    assert torch.equal((batch["x"][:, 0] + 1) * 8, torch.from_numpy(reference.images).float())
    assert torch.equal(batch["label"], torch.from_numpy(reference.target).long())


def test_the_digits_file_is_the_one_that_was_checked() -> None:
    data = resources.files("gencore.data").joinpath("digits.npz").read_bytes()
    assert hashlib.sha256(data).hexdigest() == DIGITS_SHA256


DIGITS_SHA256 = "9b77dc5209cf55cebcc2e8bceeb2392ce0e6b8866477b6cce12879b296625b7a"


def test_digits_have_attribution_beside_them() -> None:
    notice = resources.files("gencore.data").joinpath("digits.NOTICE.txt").read_text(encoding="ascii")
    assert all(part in notice for part in ("Alpaydin", "Kaynak", "CC BY 4.0", "scikit-learn developers", "AS IS"))


def test_the_split_of_the_digits_is_fixed_disjoint_and_complete() -> None:
    train, test, everything = (digits(split) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(everything)) == (1400, 397, 1797)
    rows = {
        name: {tuple(row) for row in s.x.flatten(1).tolist()}
        for name, s in (("a", train), ("b", test), ("c", everything))
    }
    assert len(rows["c"]) == 1797
    assert not rows["a"] & rows["b"]
    assert rows["a"] | rows["b"] == rows["c"]
    assert torch.bincount(test.fetch(torch.arange(397))["label"]).min() >= 30
    assert test.fetch(torch.arange(8))["label"].tolist() == TEST_LABELS


TEST_LABELS = [1, 2, 5, 6, 9, 0, 1, 6]


@pytest.mark.parametrize("image_size", [None, 8, 4, 32])
def test_digits_at_a_size(image_size: int | None) -> None:
    source = digits(image_size=image_size)
    size = image_size or 8
    assert source.shape == (1, size, size)
    check_batch(Batches(source, 7, seed=0)[0], (1, size, size))


def test_digits_refuse_what_they_do_not_know() -> None:
    with pytest.raises(GencoreError, match="split is 'valid'; expected one of train, test, all"):
        digits("valid")  # type: ignore[arg-type]
    with pytest.raises(GencoreError, match="image_size is 0"):
        digits(image_size=0)


def test_fetch_refuses_indices_that_are_none() -> None:
    for wrong in (torch.tensor([-1]), torch.tensor([1400]), torch.tensor([0.0]), torch.tensor(3), torch.tensor([[1]])):
        with pytest.raises(GencoreError, match="fetch got indices"):
            digits().fetch(wrong)
    with pytest.raises(GencoreError, match="fetch got indices"):
        digits().fetch(torch.tensor([], dtype=torch.int64))


def test_the_ring_has_its_modes() -> None:
    batch = ring(8000, seed=3).fetch(torch.arange(8000))
    for mode in range(8):
        own = batch["x"][batch["label"] == mode].double()
        angle = torch.tensor(2 * torch.pi * mode / 8).double()
        centre = torch.stack([angle.cos(), angle.sin()])
        assert len(own) == 1000
        assert (own.mean(0) - centre).abs().max() < 5 * 0.02 / 1000**0.5
        assert (own.std(0) - 0.02).abs().max() < 5 * 0.02 / 2000**0.5


def test_the_gaussian_has_its_mean_and_deviation() -> None:
    x = gaussian(3.0, 0.5).x.double()
    assert gaussian().shape == (1,)
    assert abs(x.mean() - 3) < 5 * 0.5 / 50_000**0.5
    assert abs(x.std() - 0.5) < 5 * 0.5 / 100_000**0.5


def test_an_example_depends_on_seed_and_index_alone() -> None:
    assert torch.equal(ring(100, seed=1).x, ring(1000, seed=1).x[:100])
    assert torch.equal(gaussian(num_examples=10, seed=1).x, gaussian(num_examples=99, seed=1).x[:10])
    assert not torch.equal(ring(100, seed=1).x, ring(100, seed=2).x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ring(0), "num_examples is 0"),
        (lambda: ring(num_modes=0), "num_modes is 0"),
        (lambda: ring(std=-1), "std is -1"),
        (lambda: gaussian(float("nan")), "mean is nan"),
        (lambda: gaussian(std=float("inf")), "std is inf"),
    ],
)
def test_synthetic_sources_refuse(make: object, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        make()  # type: ignore[operator]
