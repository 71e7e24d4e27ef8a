"""Spoken vowels, synthesised: five vowels by four speakers, as log-spectrograms and as waveforms.

Source and filter (Fant 1960, "Acoustic Theory of Speech Production"): pulses at the pitch of the voice pass through
the resonances of the vocal tract, H(f) = prod_i F_i^2 / (F_i^2 - f^2 + j f B_i). The vowel is in the formants F_i
(adult men, Peterson & Barney 1952, "Control Methods Used in a Study of the Vowels"); the speaker is in the pitch and in
the length of the tract, which scales all formants. Each clip has its own pitch, glide, formants, loudness and noise.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from gencore.data import Batch, InMemory
from gencore.data.spectrograms import SAMPLE_RATE, length_of, spectrogram
from gencore.data.streams import Use, normals, uniforms
from gencore.data.toys.draws import split_seed
from gencore.errors import GencoreError

FRAMES = 32
LENGTH = length_of(FRAMES)
LOUDEST = 8.0
"""What is 1 in a waveform; of 2,000 clips the loudest moment is 6.4."""

VOWELS = ("heed", "had", "hod", "who'd", "heard")
FORMANTS = ((270, 2290, 3010), (660, 1720, 2410), (730, 1090, 2440), (300, 870, 2240), (490, 1350, 1690))
"""F1, F2 and F3 of each vowel, Hz. No vowel is another one's formants scaled, as "hawed" is those of "hod"."""
BANDWIDTHS = (60.0, 90.0, 150.0)
"""B1, B2 and B3, Hz."""
SPEAKERS = ((95.0, 0.92), (125.0, 1.0), (170.0, 1.1), (215.0, 1.18))
"""Pitch in Hz and scale of the formants of each speaker."""
CORNER = 400.0
"""Hz above which the pulses lose 6 dB an octave: what glottis and lips leave together."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vowels:
    """A source (gencore.data.Source): x in [-1, 1], (1, 64, 32), band by frame, or (1, LENGTH); label the speaker,
    0 ... 3.

    Batches have one key more: vowel (N,) int64, 0 ... 4, the position in VOWELS.
    """

    clips: InMemory
    vowel: Tensor
    keys: ClassVar[tuple[str, ...]] = ("vowel",)
    sample_rate: ClassVar[int] = SAMPLE_RATE

    @property
    def shape(self) -> tuple[int, ...]:
        return self.clips.shape

    @property
    def num_classes(self) -> int | None:
        return self.clips.num_classes

    @property
    def name(self) -> str:
        return self.clips.name

    def __len__(self) -> int:
        return len(self.clips)

    def fetch(self, indices: Tensor) -> Batch:
        return {**self.clips.fetch(indices), "vowel": self.vowel[indices]}


def vowels(num_clips: int = 2000, *, seed: int = 0, split: str = "train") -> Vowels:
    """Clips of 0.28 s as log-spectrograms; clip i has vowel i % 5 and speaker i // 5 % 4, and depends on (seed, i)
    alone. Raises GencoreError for num_clips < 1 and for a split other than "train" and "test".
    """
    vowel, speaker = _spoken(num_clips)
    seed = split_seed(seed, split)
    parts = [
        spectrogram(synthesise(vowel[part], speaker[part], seed=seed, first=int(part[0])))
        for part in torch.arange(num_clips).split(500)
    ]
    return _source(torch.cat(parts)[:, None], vowel, speaker, "vowels")


def vowel_waves(num_clips: int = 2000, *, seed: int = 0, split: str = "train") -> Vowels:
    """The clips as waveforms (1, LENGTH) of SAMPLE_RATE numbers a second, in [-1, 1].

    Raises GencoreError for num_clips < 1 and for a split other than "train" and "test".
    """
    vowel, speaker = _spoken(num_clips)
    sound = synthesise(vowel, speaker, seed=split_seed(seed, split)) / LOUDEST
    return _source(sound.clamp(-1, 1)[:, None], vowel, speaker, f"vowel waves {split}")


def _spoken(num_clips: int) -> tuple[Tensor, Tensor]:
    """Vowel and speaker of each clip, (num_clips,) int64."""
    if num_clips < 1:
        raise GencoreError(f"num_clips is {num_clips}; expected at least 1.")
    clip = torch.arange(num_clips)
    return clip % len(VOWELS), clip // len(VOWELS) % len(SPEAKERS)


def _source(x: Tensor, vowel: Tensor, speaker: Tensor, what: str) -> Vowels:
    clips = InMemory(x=x, label=speaker, num_classes=len(SPEAKERS), name=f"{what} ({len(x)} clips)")
    return Vowels(clips=clips, vowel=vowel)


def synthesise(vowel: Tensor, speaker: Tensor, *, seed: int, first: int = 0) -> Tensor:
    """Sound (N, LENGTH) float32 of mean square about 1, for vowel and speaker (N,) int64; `first`: number of clip 0."""
    count, draws = len(vowel), 3 + len(BANDWIDTHS) + 1
    unit = uniforms(seed, 0, (first + count) * draws, Use.TABLE).view(-1, draws)[first:] * 2 - 1
    noise = torch.stack([normals(seed, 1 + clip, LENGTH, Use.TABLE) for clip in range(first, first + count)])
    pitch, scale = torch.tensor(SPEAKERS, dtype=torch.float64)[speaker].unbind(1)
    time = torch.linspace(-0.5, 0.5, LENGTH, dtype=torch.float64)
    hertz = (pitch * (1 + 0.04 * unit[:, 0]))[:, None] * (1 + 0.05 * unit[:, 1:2] * time)
    turns = hertz.cumsum(1) / SAMPLE_RATE + unit[:, 2:3]
    pulses = turns.floor().diff(dim=1, prepend=turns[:, :1].floor())
    formants = torch.tensor(FORMANTS, dtype=torch.float64)[vowel] * scale[:, None] * (1 + 0.03 * unit[:, 3:6])
    voiced = torch.fft.irfft(torch.fft.rfft(pulses) * resonances(formants), n=LENGTH)
    voiced = voiced - voiced.mean(1, keepdim=True)
    voiced = voiced / voiced.square().mean(1, keepdim=True).sqrt()
    return (voiced * 10 ** (0.15 * unit[:, 6:7]) + 0.003 * noise).float()


def resonances(formants: Tensor) -> Tensor:
    """Response of the vocal tract with `formants` (N, 3) in Hz, glottis and lips, (N, LENGTH // 2 + 1) complex."""
    hertz = torch.fft.rfftfreq(LENGTH, 1 / SAMPLE_RATE, dtype=torch.float64)
    bandwidth = torch.tensor(BANDWIDTHS, dtype=torch.float64)[:, None]
    squared = formants[..., None].square()
    response = squared / (squared - hertz.square() + 1j * hertz * bandwidth)
    return response.prod(1) / (1 + 1j * hertz / CORNER)
