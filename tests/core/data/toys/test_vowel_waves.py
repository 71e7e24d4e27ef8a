"""Vowels as waveforms. Their spectrograms: test_vowels.py."""

from __future__ import annotations

import pytest
import torch

from gencore.data import Source, check_batch
from gencore.data.spectrograms import spectrogram
from gencore.data.toys.vowels import LENGTH, LOUDEST, SPEAKERS, vowel_waves, vowels
from gencore.errors import GencoreError


def test_waves_are_a_source() -> None:
    source = vowel_waves(25)
    assert isinstance(source, Source)
    assert (source.shape, source.num_classes, len(source)) == ((1, LENGTH), len(SPEAKERS), 25)
    batch = source.fetch(torch.tensor([24, 3]))
    check_batch(batch, source.shape)
    assert batch["vowel"].tolist() == [4, 3]
    assert batch["label"].tolist() == [0, 0]
    assert batch["x"].abs().max() <= 1


def test_the_spectrogram_of_a_wave_is_the_clip_of_the_other_source() -> None:
    waves, pictures = vowel_waves(8, seed=2).clips.x, vowels(8, seed=2).clips.x
    torch.testing.assert_close(spectrogram(waves[:, 0] * LOUDEST), pictures[:, 0], atol=1e-4, rtol=0)


def test_splits_differ() -> None:
    assert not torch.allclose(vowel_waves(4).clips.x, vowel_waves(4, split="test").clips.x)
    with pytest.raises(GencoreError, match="split"):
        vowel_waves(4, split="all")
    with pytest.raises(GencoreError, match="num_clips"):
        vowel_waves(0)
