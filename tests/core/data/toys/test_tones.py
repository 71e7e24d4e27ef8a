from __future__ import annotations

import pytest
import torch

from gencore.data.toys.tones import LENGTHS, NOTES, dominant_frequency, in_scale, melodies, sines, tones, walk

N = torch.arange(2000)


def test_a_walk_is_reflected_at_both_ends() -> None:
    """Ten notes, 0 to 9: 8 + 2 is 10, which folds back to 8; 1 - 2 is -1, which folds back to 1."""
    steps = torch.tensor([[2, -2], [-2, 1]])
    assert walk(torch.tensor([8, 1]), steps).tolist() == [[8, 8, 8], [1, 1, 0]]


def test_melodies_keep_their_rules() -> None:
    length, pitch, velocity, gap = melodies(N).unbind(2)
    assert set(length.unique().tolist()) == set(LENGTHS)
    assert torch.equal(gap[:, 1:], length[:, :-1])
    assert (gap[:, 0] == 0).all()
    assert set(pitch.unique().tolist()) == {float(note) for note in NOTES}
    place = torch.searchsorted(torch.tensor(NOTES), pitch.long())
    assert place.diff(dim=1).abs().max() == 2
    strong = velocity[:, ::4].mean() - velocity[:, 1:4].mean()
    assert abs(strong.item() - 0.3) < 0.01


def test_the_scale_is_told_from_noise() -> None:
    assert in_scale(melodies(N)[..., 1]) == 1.0
    uniform = torch.rand(100_000, generator=torch.Generator().manual_seed(0)) * 24
    assert abs(in_scale(uniform) - 5 * 0.5 / 12) < 0.01
    assert in_scale(torch.tensor([11.8, 23.9, 12.2])) == 1.0


def test_sines_have_one_frequency_and_their_amplitude() -> None:
    waves = sines(2000).x
    assert waves.shape == (2000, 32)
    assert waves.abs().amax(1).min() > 0.45
    assert waves.abs().amax(1).max() <= 1
    counts = dominant_frequency(waves).bincount(minlength=8)
    assert counts[0] == 0
    assert counts[1:6].min() > 200
    exact = torch.sin(2 * torch.pi * 3 * torch.arange(32) / 32)
    assert dominant_frequency(exact[None] + 5).item() == 3


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps is 1; expected at least 2"):
        tones(5, steps=1)
    with pytest.raises(ValueError, match="steps is 8; expected at least 16"):
        sines(5, steps=8)
