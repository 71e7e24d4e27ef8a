"""Synthetic vowels: formants, pitch, and spectrograms in decibels. As waveforms: test_vowel_waves.py."""

from __future__ import annotations

import pytest
import torch

from gencore.data import Source, check_batch
from gencore.data.spectrograms import HOP, SAMPLE_RATE, WINDOW, spectrogram
from gencore.data.toys.vowels import CORNER, FORMANTS, LENGTH, SPEAKERS, resonances, synthesise, vowels
from gencore.errors import GencoreError


def test_vowels_are_a_source() -> None:
    source = vowels(45)
    assert isinstance(source, Source)
    assert (source.shape, source.num_classes, len(source)) == ((1, 64, 32), 4, 45)
    batch = source.fetch(torch.tensor([44, 3]))
    check_batch(batch, source.shape)
    assert batch["vowel"].tolist() == [4, 3]
    assert batch["label"].tolist() == [0, 0]
    assert batch["index"].tolist() == [44, 3]
    whole = source.fetch(torch.arange(45))
    assert {tuple(pair) for pair in torch.stack([whole["vowel"], whole["label"]], 1).tolist()} == {
        (vowel, speaker) for vowel in range(5) for speaker in range(4)
    }


def test_a_clip_depends_on_seed_and_number_alone() -> None:
    """Also across the parts of 500 clips in which they are made."""
    few, many = vowels(3).clips.x, vowels(504).clips.x
    torch.testing.assert_close(many[:3], few)
    last = synthesise(torch.tensor([3]), torch.tensor([0]), seed=0, first=503)
    both = synthesise(torch.tensor([2, 3]), torch.tensor([0, 0]), seed=0, first=502)
    torch.testing.assert_close(both[1:], last)
    assert not torch.allclose(vowels(3, seed=1).clips.x, few)
    with pytest.raises(GencoreError, match="num_clips is 0"):
        vowels(0)


def test_formants_are_the_peaks_of_the_response() -> None:
    """Without the slope of glottis and lips the response has a maximum at each formant."""
    for vowel in range(5):
        formants = torch.tensor([FORMANTS[vowel]], dtype=torch.float64)
        hertz = torch.fft.rfftfreq(LENGTH, 1 / SAMPLE_RATE, dtype=torch.float64)
        response = (resonances(formants)[0] * (1 + 1j * hertz / CORNER)).abs()
        for formant in FORMANTS[vowel]:
            near = round(formant * LENGTH / SAMPLE_RATE)
            window = response[near - 25 : near + 26]
            assert abs(int(window.argmax()) - 25) <= 12, (vowel, formant)
    assert resonances(torch.tensor([[500.0, 1500.0, 2500.0]]))[0, 0].abs().item() == pytest.approx(1)


@pytest.mark.parametrize("speaker", range(4))
def test_pitch_is_the_speakers(speaker: int) -> None:
    """The strongest autocorrelation from 70 to 260 Hz."""
    sound = synthesise(torch.full((8,), 2), torch.full((8,), speaker), seed=0).double()
    spectrum = torch.fft.rfft(sound, n=2 * LENGTH).abs().square()
    autocorrelation = torch.fft.irfft(spectrum)[:, :LENGTH]
    lags = torch.arange(LENGTH)
    weighted = autocorrelation / (LENGTH - lags)
    low, high = SAMPLE_RATE // 260, SAMPLE_RATE // 70
    lag = weighted[:, low:high].argmax(1) + low
    hertz = (SAMPLE_RATE / lag).median().item()
    assert hertz == pytest.approx(SPEAKERS[speaker][0], rel=0.07)


def test_frames_cover_the_clip() -> None:
    assert (LENGTH - WINDOW) % HOP == 0
    assert synthesise(torch.tensor([0]), torch.tensor([1]), seed=0).shape == (1, LENGTH)


def test_decibels_are_those_of_a_sine() -> None:
    """A sine of mean square 0.01, in the middle of a band of 62.5 Hz, is at -20 dB there; a band holds the
    window's side bins too, up to 1.8 dB. Silence is at the floor."""
    time = torch.arange(LENGTH, dtype=torch.float64) / SAMPLE_RATE
    sound = 0.1 * 2**0.5 * torch.sin(2 * torch.pi * (62.5 * 10 - 15.6) * time)
    level = (spectrogram(sound[None])[0, :, 4:-4].amax(0) - 1) * 35
    assert ((level > -20.2) & (level < -18)).all()
    assert spectrogram(torch.zeros(1, LENGTH)).unique().tolist() == [-1.0]
