"""sound: and spectrograms: files of any rate become clips of one length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gencore.data import check_batch, open_source
from gencore.data.source import conditions_of
from gencore.data.sources.sounds import sounds
from gencore.data.spectrograms import spectrogram
from gencore.data.toys.vowels import vowel_waves
from gencore.errors import GencoreError


def write(path: Path, rate: int, seconds: float, size: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(rate * seconds)) / rate
    soundfile.write(path, size * np.sin(2 * np.pi * 440 * time), rate)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two speakers: a.wav of 11 clips and a bit, b.flac of 0.1 s; c10.wav and c9.wav of a clip each."""
    write(tmp_path / "speech/ann/a.wav", 16000, 0.28 * 11.5)
    write(tmp_path / "speech/ann/b.flac", 44100, 0.1)
    write(tmp_path / "speech/bob/c10.wav", 8000, 0.28)
    write(tmp_path / "speech/bob/c9.wav", 8000, 0.28)
    (tmp_path / "speech/bob/notes.txt").write_text("no sound")
    write(tmp_path / "speech/bob/.hidden.wav", 8000, 3)
    return tmp_path / "speech"


def test_clips_and_speakers(folder: Path) -> None:
    source = open_source(f"sound:{folder}", split="all")
    assert (source.shape, len(source), source.num_classes) == ((1, 2240), 14, 2)
    assert source.class_names == ("ann", "bob")
    assert source.sample_rate == 8000
    batch = source.fetch(torch.arange(14))
    check_batch(batch, source)
    assert batch["label"].tolist() == [0] * 12 + [1] * 2
    expected = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(2240) / 8000)
    for whole in (0, 12, 13):
        torch.testing.assert_close(batch["x"][whole, 0, 50:-50], expected[50:-50], atol=0.01, rtol=0)
    assert batch["x"][11, 0, 800:].eq(0).all(), "a file of 0.1 s is filled up with silence"
    assert batch["x"][11, 0, :780].abs().max() > 0.4


def test_every_tenth_clip_is_the_test_split(folder: Path) -> None:
    parts = {split: open_source(f"sound:{folder}", split=split).x for split in ("train", "test", "all")}
    assert torch.equal(parts["test"], parts["all"][[9]])
    assert torch.equal(parts["train"], torch.cat([parts["all"][:9], parts["all"][10:]]))


def test_every_tenth_file_is_the_test_split(tmp_path: Path) -> None:
    for number in range(1, 11):
        write(tmp_path / f"{number}.wav", 8000, 0.6, size=number / 20)
    test = sounds(str(tmp_path), split="test")
    assert len(test) == 2
    assert test.num_classes is None
    assert test.x.max().item() == pytest.approx(0.5, abs=0.01)
    assert sounds(str(tmp_path)).x.max().item() == pytest.approx(0.45, abs=0.01)


def test_rate_and_length(folder: Path) -> None:
    source = open_source(f"sound:{folder},16000,0.1")
    assert (source.shape, source.sample_rate) == ((1, 1600), 16000)
    assert open_source(f"sound:{folder}/ann/a.wav,4000").shape == (1, 1120)
    assert open_source(f"sound:{folder}", condition="none").num_classes is None


def test_spectrograms(folder: Path) -> None:
    """Each clip's own, of mean square 1; as the data, or as what the sound is conditioned on."""
    source = open_source(f"spectrograms:{folder}", split="all")
    assert (source.shape, source.num_classes) == ((1, 64, 32), 2)
    waves = open_source(f"sound:{folder}", split="all", condition="spectrogram")
    (kind,) = conditions_of(waves)
    assert kind.shape == (1, 64, 32)
    batch = waves.fetch(torch.arange(14))
    check_batch(batch, waves)
    assert torch.equal(batch["x_input"], source.fetch(torch.arange(14))["x"])
    sound = batch["x"][0]
    torch.testing.assert_close(batch["x_input"][0], spectrogram(sound / sound.square().mean().sqrt()))


def test_vowels_written_and_read_are_the_vowels(tmp_path: Path) -> None:
    x = vowel_waves(3).clips.x
    for number, clip in enumerate(x):
        soundfile.write(tmp_path / f"{number}.wav", clip[0].numpy(), 8000)
    torch.testing.assert_close(open_source(f"sound:{tmp_path}", split="all").x, x, atol=1e-4, rtol=0)


def test_mistakes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    for spec, message in (
        (f"sound:{tmp_path}/nowhere", "no file or folder"),
        (f"sound:{tmp_path}/nothing", r"no file that ends in \.aif"),
        ("sound:", "needs a file or folder"),
        ("spectrograms:", "needs a file or folder"),
        (f"sound:{folder},0", "rate is 0"),
        (f"sound:{folder}/bob/notes.txt", "cannot be read as sound"),
    ):
        with pytest.raises(GencoreError, match=message):
            open_source(spec)
    with pytest.raises(GencoreError, match="none for test"):
        open_source(f"sound:{folder}/bob", split="test")
    with pytest.raises(GencoreError, match="at 8000 Hz"):
        open_source(f"sound:{folder},16000", condition="spectrogram")
    with pytest.raises(GencoreError, match="no metadata"):
        open_source(f"sound:{folder}", condition="age")
    with pytest.raises(GencoreError, match="no images"):
        open_source(f"sound:{folder}", image_size=8)
