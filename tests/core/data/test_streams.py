from __future__ import annotations

import numpy as np
import pytest
import torch

from gencore.data.streams import Use, derived_seed, normals, permutation, raw, uniforms


def test_the_stream_is_pinned() -> None:
    """A change here would silently reorder the data of every run that is resumed with a newer version."""
    assert permutation(10, seed=7, number=3).tolist() == PINNED
    assert torch.equal(permutation(10, 7, 3), permutation(10, 7, 3))


PINNED = [2, 5, 9, 7, 3, 0, 6, 8, 4, 1]


@pytest.mark.parametrize("length", [1, 2, 97])
def test_permutations_are_permutations_that_differ_by_seed_and_number(length: int) -> None:
    drawn = [permutation(length, seed, number) for seed in (0, 1) for number in (0, 1)]
    assert all(sorted(p.tolist()) == list(range(length)) for p in drawn)
    if length == 97:
        assert len({tuple(p.tolist()) for p in drawn}) == 4


def test_uses_share_no_numbers() -> None:
    words = np.concatenate([raw(0, 0, 1000, use) for use in Use])
    assert len(np.unique(words)) == 1000 * len(Use)


def test_a_longer_stream_begins_with_the_shorter() -> None:
    assert torch.equal(normals(1, 2, 9, Use.TABLE)[:5], normals(1, 2, 5, Use.TABLE))


def test_uniforms_and_normals_have_their_moments() -> None:
    u, z = uniforms(3, 0, 200_000, Use.TABLE), normals(3, 0, 200_000, Use.TABLE)
    assert u.min() > 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 5 * (1 / 12 / 200_000) ** 0.5
    assert abs(z.mean()) < 5 / 200_000**0.5
    assert abs(z.var() - 1) < 5 * (2 / 200_000) ** 0.5
    assert abs((z**4).mean() - 3) < 5 * (96 / 200_000) ** 0.5


def test_derived_seeds_are_distinct_seeds() -> None:
    seeds = {derived_seed(seed, number) for seed in range(20) for number in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**64 for seed in seeds)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed is"):
        permutation(3, seed, 0)
