"""Sound files: written and read, at any rate."""

from __future__ import annotations

import math
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gencore.data.sound import read_sound, resample, save_sound
from gencore.errors import GencoreError, PluginError


def tone(rate: int, hertz: float, seconds: float = 0.5) -> torch.Tensor:
    """A sine of size 0.5."""
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(round(rate * seconds)) / rate)


def test_there_and_back(tmp_path: Path) -> None:
    x = tone(8000, 300)
    save_sound(x[None], tmp_path / "a.wav", rate=8000)
    read, rate = read_sound(tmp_path / "a.wav")
    assert rate == 8000
    torch.testing.assert_close(read, x, atol=1e-4, rtol=0)


def test_several_clips_have_silence_between_them(tmp_path: Path) -> None:
    save_sound(torch.full((3, 1, 5), 0.5), tmp_path / "a.wav", rate=40)
    with wave.open(str(tmp_path / "a.wav"), "rb") as file:
        numbers = np.frombuffer(file.readframes(99), "<i2")
    assert [bool(number) for number in numbers] == ([True] * 5 + [False] * 10) * 2 + [True] * 5


@pytest.mark.parametrize(
    ("subtype", "end"), [("PCM_U8", "wav"), ("PCM_24", "wav"), ("FLOAT", "wav"), ("PCM_16", "flac")]
)
def test_any_rate_depth_and_channels(subtype: str, end: str, tmp_path: Path) -> None:
    """Two channels at 44.1 kHz, whose mean is a tone, become that tone at 8 kHz."""
    x = tone(44100, 440)
    other = 0.2 * torch.sin(2 * math.pi * 1000 * torch.arange(len(x)) / 44100)
    soundfile.write(tmp_path / f"a.{end}", torch.stack([x + other, x - other], 1).numpy(), 44100, subtype=subtype)
    read, rate = read_sound(tmp_path / f"a.{end}", rate=8000)
    assert (len(read), rate) == (4000, 8000)
    error = (read - tone(8000, 440))[200:-200].abs().max()
    assert error < (0.01 if subtype == "PCM_U8" else 0.002)


def test_what_a_lower_rate_cannot_hold_is_taken_away() -> None:
    """3 kHz stays at 8 kHz, 6 kHz does not come back as 2 kHz."""
    for hertz, share in ((3000, 1.0), (6000, 0.0)):
        low = resample(tone(16000, hertz), 16000, 8000)[200:-200]
        assert low.square().mean().sqrt() / (0.5 / 2**0.5) == pytest.approx(share, abs=0.01)


def test_bad_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF and no more")
    with pytest.raises(GencoreError, match=r"a\.wav cannot be read as sound"):
        read_sound(tmp_path / "a.wav")
    with pytest.raises(GencoreError, match="cannot be read"):
        read_sound(tmp_path / "none.wav")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    with pytest.raises(GencoreError, match="empty"):
        read_sound(tmp_path / "empty.wav")
    with pytest.raises(GencoreError, match="rates are 8000 and 0"):
        resample(tone(8000, 100), 8000, 0)
    for wrong in (torch.zeros(5), torch.zeros(2, 2, 5), torch.zeros(1, 5, dtype=torch.int64)):
        with pytest.raises(GencoreError, match="expected waveforms"):
            save_sound(wrong, tmp_path / "b.wav", rate=8000)
    for value in (1.2, float("nan")):
        with pytest.raises(GencoreError, match=r"in \[-1, 1\]"):
            save_sound(torch.full((1, 5), value), tmp_path / "b.wav", rate=8000)
    with pytest.raises(GencoreError, match=r"name in \.wav"):
        save_sound(torch.zeros(1, 5), tmp_path / "b.mp3", rate=8000)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(PluginError, match=r'soundfile library.*pip install "gencore\[audio\]"'):
        read_sound(tmp_path / "empty.wav")
