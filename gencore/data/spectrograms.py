"""Log-spectrograms of speech at 8 kHz, and sound that has a given one.

64 bands of 62.5 Hz, a frame every 8 ms, in decibels: [-70 dB, 0 dB] is [-1, 1], and 0 dB a sine of mean square 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencore.errors import GencoreError

SAMPLE_RATE = 8000
WINDOW, HOP, BANDS = 256, 64, 64
FLOOR_DB = -70.0


def length_of(frames: int) -> int:
    """How many numbers of sound give so many frames."""
    return WINDOW + HOP * (frames - 1)


def spectrogram(sound: Tensor) -> Tensor:
    """sound (N, T) -> (N, 64, frames), each a window of 256 numbers, 64 apart; beyond [-70 dB, 0 dB] it is clipped."""
    window = torch.hann_window(WINDOW, dtype=sound.dtype)
    frames = sound.unfold(1, WINDOW, HOP) * window
    power = torch.fft.rfft(frames).abs().square()[..., 1:].unflatten(-1, (BANDS, -1)).sum(-1)
    full = window.sum().square() / 2
    decibels = 10 * torch.log10(power / full + 10 ** (FLOOR_DB / 10) * math.exp(-1))
    return (1 - 2 * decibels.clamp(FLOOR_DB, 0) / FLOOR_DB).transpose(1, 2).contiguous()


def sound_of(x: Tensor, *, steps: int = 60, seed: int = 0) -> Tensor:
    """Spectrograms (N, 64, frames) -> sound (N, T) that has them, as nearly as `steps` of Griffin & Lim (1984, "Signal
    Estimation from Modified Short-Time Fourier Transform") come: the phases are those of the sound so far, at first
    random. The power of a band is shared out evenly over its two frequencies.

    Raises GencoreError for other shapes.
    """
    if x.ndim != 3 or x.shape[1] != BANDS or not x.shape[2]:
        raise GencoreError(f"the spectrograms are {tuple(x.shape)}; expected (N, {BANDS}, frames).")
    window = torch.hann_window(WINDOW, dtype=x.dtype)
    decibels = (1 - x.clamp(-1, 1)) * FLOOR_DB / 2
    power = (10 ** (decibels / 10) - 10 ** (FLOOR_DB / 10) * math.exp(-1)).clamp_min(0) * window.sum().square() / 2
    size = (power / 2).sqrt().repeat_interleave(2, 1).transpose(1, 2)
    size = torch.cat([torch.zeros_like(size[..., :1]), size], 2)
    phase = torch.rand(size.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype) * (2 * math.pi)
    sound = _overlapped(torch.polar(size, phase), window)
    for _ in range(steps):
        seen = torch.fft.rfft(sound.unfold(1, WINDOW, HOP) * window)
        sound = _overlapped(torch.polar(size, seen.angle()), window)
    return sound


def _overlapped(frames: Tensor, window: Tensor) -> Tensor:
    """Frames (N, F, 129) -> the sound whose windows are nearest to them (equation 6): windowed again, added, and
    divided by the sum of the squared windows."""
    parts = torch.fft.irfft(frames, n=WINDOW) * window
    total = torch.nn.functional.fold(
        torch.cat([parts, window.square().expand_as(parts)]).transpose(1, 2),
        (1, length_of(frames.shape[1])),
        (1, WINDOW),
        stride=(1, HOP),
    )[:, 0, 0]
    sound, weight = total.chunk(2)
    return sound / weight.clamp_min(0.25)  # or the ends, which windows hardly see, would be torn up
