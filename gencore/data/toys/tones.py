"""Melodies in a pentatonic scale, and sine waves.

Of `tones`:
key   shape, dtype
x     (N, steps, 4) float32: length [beats], pitch [semitones above the lowest C, 0 to 21], velocity in [0, 1], and gap
      [beats]

The pitch walks the scale by at most two notes, reflected at both ends; every fourth note is strong; the gap, the time
since the last onset, is the last note's length (0 at the first): what a critic can only see that remembers.

Of `sines`:
key   shape, dtype
x     (N, steps) float32, a wave of 1 to 6 periods, amplitude 0.5 to 1, any phase
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencore.data.toys import draws
from gencore.data.toys.rendered import Rendered, check_size, first_indices

SCALE = (0, 2, 4, 7, 9)  # semitones above C
NOTES = tuple(12 * octave + step for octave in (0, 1) for step in SCALE)
LENGTHS = (0.25, 0.5, 1.0)  # beats
NAMES = ("length", "pitch", "velocity", "gap")

# First columns of the draws; those of the notes are a million apart.
_WALK, _LENGTH, _VELOCITY = 0, 1_000_000, 2_000_000


def walk(start: Tensor, steps: Tensor) -> Tensor:
    """Places in NOTES (N, L) of a walk from `start` (N,) by `steps` (N, L - 1), reflected at both ends."""
    period = 2 * len(NOTES) - 2
    place = torch.cat([start[:, None], steps], dim=1).cumsum(1) % period
    return torch.minimum(place, period - place)


def melodies(index: Tensor, *, steps: int = 16, seed: int = 0) -> Tensor:
    """The melodies of `index`, (N,) int64: (N, steps, 4) float32."""
    strides = (draws.uniforms(seed, index, _WALK + 1, steps - 1) * 5).long() - 2
    pitch = torch.tensor(NOTES, dtype=torch.float32)[walk(draws.integers(seed, index, _WALK, len(NOTES)), strides)]
    length = torch.tensor(LENGTHS)[(draws.uniforms(seed, index, _LENGTH, steps) * len(LENGTHS)).long()]
    accent = (torch.arange(steps) % 4 == 0).float()
    velocity = (0.5 + 0.3 * accent + 0.05 * draws.normals(seed, index, _VELOCITY, steps)).clamp(0, 1)
    gap = torch.cat([torch.zeros(len(index), 1), length[:, :-1]], dim=1)
    return torch.stack([length, pitch, velocity, gap], dim=2)


def in_scale(pitch: Tensor, *, within: float = 0.25) -> float:
    """The share of pitches [semitones], of any shape, at most `within` from a note of SCALE in any octave.

    Uniform pitches score 0.21 at the default. One note repeated scores 1: look at the histogram too.
    """
    away = (pitch[..., None] % 12 - torch.tensor((*SCALE, 12.0))).abs()
    return (away.amin(-1) <= within).float().mean().item()


def dominant_frequency(waves: Tensor) -> Tensor:
    """The strongest bin of the spectrum, the mean aside: (N, steps) to (N,) int64 [periods per window]."""
    return torch.fft.rfft(waves - waves.mean(1, keepdim=True)).abs().argmax(1)


def tones(num_examples: int = 5000, *, steps: int = 16, seed: int = 0, split: str = "train") -> Rendered:
    """Melodies of `steps` notes, at least 2. Raises GencoreError for bad values."""
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    check_size(steps, 2, "steps")
    return Rendered(x=melodies(index, steps=steps, seed=seed), name=f"melodies of {steps} notes ({split})")


def sines(num_examples: int = 5000, *, steps: int = 32, seed: int = 0, split: str = "train") -> Rendered:
    """Sine waves at `steps` times, at least 16. Raises GencoreError for bad values."""
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    check_size(steps, 16, "steps")
    frequency, amplitude, phase = draws.uniforms(seed, index, 0, 3)[:, None].unbind(2)
    time = torch.arange(steps) / steps
    x = (0.5 + 0.5 * amplitude) * torch.sin(2 * math.pi * ((1 + 5 * frequency) * time + phase))
    return Rendered(x=x, name=f"sine waves at {steps} times ({split})")
