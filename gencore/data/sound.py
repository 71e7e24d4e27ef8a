"""Sound at the border: waveforms in [-1, 1] to and from files, at any rate.

A waveform has `rate` numbers a second. Files of 8 to 32 bits or floats, of any rate and any number of channels, are
read by the soundfile library, and their rate is changed by scipy's filter (extra "audio"); channels are averaged.
"""

from __future__ import annotations

import importlib
import io
import math
import os
import wave
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gencore.errors import GencoreError, PluginError

PAUSE = 0.25
"""Seconds of silence between two clips in one file."""


def save_sound(x: Tensor, path: str | os.PathLike[str], *, rate: int) -> None:
    """Waveforms (N, 1, T) or one (1, T), in [-1, 1], as a .wav file of 16 bits and one channel, whole or not at all.

    Several follow each other, PAUSE between them. Raises GencoreError for other shapes, another suffix, values that are
    no numbers or lie outside [-1, 1] by more than 1e-3, and a rate below 1.
    """
    from gencore_hub.atomic import atomic_write

    clips = x[None] if x.ndim == 2 else x
    if clips.ndim != 3 or clips.shape[1] != 1 or not clips.numel() or not clips.is_floating_point():
        raise GencoreError(f"got {tuple(x.shape)} {x.dtype}; expected waveforms (N, 1, T) or (1, T), floating point.")
    if Path(path).suffix.lower() != ".wav" or rate < 1:
        raise GencoreError(f"path is {os.fspath(path)!r}, rate {rate}; expected a name in .wav, and 1 or more.")
    low, high = (float(bound) for bound in torch.aminmax(clips.detach()))
    if not -1.001 <= low <= high <= 1.001:
        raise GencoreError(f"the sound goes from {low:.4g} to {high:.4g}; expected finite values in [-1, 1].")
    gap = torch.zeros(len(clips), round(PAUSE * rate))
    whole = torch.cat([clips.detach()[:, 0].float().cpu().clamp(-1, 1), gap], 1).flatten()[: -gap.shape[1] or None]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((whole * 32767).round().to(torch.int16).numpy().astype("<i2").tobytes())
    atomic_write(path, buffer.getvalue())


def read_sound(path: str | os.PathLike[str], *, rate: int | None = None) -> tuple[Tensor, int]:
    """The sound in a file as one channel, (T,) float32 in [-1, 1], and its rate; at `rate` where that is given.

    Raises PluginError without soundfile; GencoreError for what cannot be read, is empty or holds NaN.
    """
    library = _library("soundfile", "soundfile", os.fspath(path))
    try:
        samples, own = library.read(os.path.expanduser(path), dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise GencoreError(f"{os.fspath(path)} cannot be read as sound: {error}") from error
    sound = torch.from_numpy(samples).mean(1)
    if not len(sound) or not sound.isfinite().all():
        raise GencoreError(f"{os.fspath(path)} is empty or holds NaN; expected sound.")
    return (sound.clamp(-1, 1), own) if rate is None else (resample(sound, own, rate).clamp(-1, 1), rate)


def resample(sound: Tensor, rate: int, wanted: int) -> Tensor:
    """sound (..., T) of `rate` numbers a second -> (..., ceil(T wanted / rate)) of `wanted`, by scipy's polyphase
    filter, which takes away what the lower rate cannot hold. Raises GencoreError for rates below 1, PluginError without
    scipy."""
    if min(rate, wanted) < 1:
        raise GencoreError(f"the rates are {rate} and {wanted}; expected 1 or more.")
    if rate == wanted:
        return sound
    signal = _library("scipy.signal", "scipy", f"a rate of {wanted}")
    common = math.gcd(rate, wanted)
    return torch.from_numpy(signal.resample_poly(sound.numpy(), wanted // common, rate // common, axis=-1)).to(sound)


def _library(module: str, name: str, wanted: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise PluginError(
            f'{wanted} needs the {name} library, which is not installed: pip install "gencore[audio]".'
        ) from error
