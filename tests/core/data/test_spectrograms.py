"""Spectrograms of tones by hand, and sound that has a given spectrogram."""

from __future__ import annotations

import math

import pytest
import torch

from gencore.data.spectrograms import length_of, sound_of, spectrogram
from gencore.data.toys.vowels import synthesise
from gencore.errors import GencoreError


def test_a_sine_stands_in_its_band() -> None:
    """A sine of mean square 1, of 1 kHz, is 0 dB in band 15 (937.5 to 1000 Hz), less what the window puts beside it."""
    time = torch.arange(length_of(4), dtype=torch.float64) / 8000
    x = spectrogram(2**0.5 * torch.sin(2 * math.pi * 1000 * time)[None])
    assert x.shape == (1, 64, 4)
    assert (x.argmax(1) == 15).all()
    torch.testing.assert_close(x[0, 15], torch.ones(4, dtype=torch.float64), atol=0.03, rtol=0)
    assert (x[0, 30:] == -1).all()


def test_sound_of_a_spectrogram_has_it() -> None:
    """Vowels: 1.6 dB off on average; random phases, which nothing has put right, 5.8."""
    clip = torch.arange(10)
    x = spectrogram(synthesise(clip % 5, clip % 4, seed=0))
    error = {steps: float((spectrogram(sound_of(x, steps=steps)) - x).abs().mean()) * 35 for steps in (0, 60)}
    assert error[60] < 2.2
    assert error[0] > 4.5


def test_bad_spectrograms() -> None:
    for wrong in (torch.zeros(2, 63, 5), torch.zeros(64, 5), torch.zeros(1, 64, 0)):
        with pytest.raises(GencoreError, match=r"expected \(N, 64, frames\)"):
            sound_of(wrong)
