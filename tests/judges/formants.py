"""The first two formants of a sound, by linear prediction (Makhoul 1975, "Linear Prediction: A Tutorial Review").

In a window of 50 ms, x_t is predicted from the ten numbers before it; the poles of that filter are the resonances of
the vocal tract, of frequency arg(pole) rate / 2 pi and bandwidth -ln|pole| rate / pi.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from gencore.data.spectrograms import SAMPLE_RATE
from gencore.data.toys.vowels import FORMANTS, SPEAKERS

ORDER, WINDOW, HOP = 10, 400, 240
WIDEST = 400.0
"""Hz of bandwidth: a pole beyond is the slope of the spectrum and no resonance."""


def first_formants(wave: Tensor) -> Tensor:
    """A clip (T,) -> F1 and F2, (2,) Hz: medians over its windows; 0 where it has none."""
    raised = np.diff(wave.double().numpy())
    windows = (raised[first : first + WINDOW] for first in range(200, len(raised) - WINDOW, HOP))
    found = [resonances[:2] for resonances in map(resonances_of, windows) if len(resonances) >= 2]
    return torch.tensor(np.median(found, 0) if found else [0.0, 0.0])


def resonances_of(window: np.ndarray) -> np.ndarray:
    """Frequencies [Hz] of the resonances between 180 and 3,600 Hz, ascending."""
    shaped = window * np.hamming(len(window))
    correlation = np.correlate(shaped, shaped, "full")[len(shaped) - 1 :][: ORDER + 1]
    correlation[0] *= 1.0001
    predictor = scipy.linalg.solve_toeplitz(correlation[:-1], correlation[1:])
    poles = np.roots(np.append(1, -predictor))
    frequency = np.angle(poles) * SAMPLE_RATE / (2 * math.pi)
    bandwidth = -np.log(np.abs(poles)) * SAMPLE_RATE / math.pi
    return np.sort(frequency[(bandwidth < WIDEST) & (frequency > 180) & (frequency < 3600)])


def within_a_vowel(waves: Tensor, speakers: Tensor, *, band: float = 0.2) -> Tensor:
    """Clips (N, T) of speakers (N,) -> whether F1 and F2 are both within `band` of those of the nearest vowel as that
    speaker has it, (N,) bool."""
    scale = torch.tensor([scale for _, scale in SPEAKERS])[speakers]
    found = torch.stack([first_formants(wave) for wave in waves]) / scale[:, None]
    vowels = torch.tensor(FORMANTS)[:, :2]
    away = (found[:, None].clamp_min(1).log() - vowels.log()).abs()
    nearest = vowels[away.sum(2).argmin(1)]
    return ((found / nearest - 1).abs() < band).all(1)
