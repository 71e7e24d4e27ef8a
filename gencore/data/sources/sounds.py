"""Sound files as data: clips of one length, as waveforms or as log-spectrograms, held in memory.

key       shape, dtype               meaning
x         (N, 1, T) float32          sound in [-1, 1], `sample_rate` numbers a second
x         (N, 1, 64, 32) float32     of spectrograms: gencore.data.spectrograms
label     (N,) int64                 the sub-folder, where all files lie in two or more of them: the speaker
x_input   (N, 1, 64, 32) float32     with condition="spectrogram": that of the sound
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import torch
from torch import Tensor

from gencore.conditions import Image
from gencore.data.opening_rules import refuse, shorten
from gencore.data.options import OpenOptions
from gencore.data.sound import read_sound
from gencore.data.sources.listing import natural_key
from gencore.data.sources.memory import InMemory
from gencore.data.spectrograms import BANDS, SAMPLE_RATE, length_of, spectrogram
from gencore.errors import GencoreError

SUFFIXES = frozenset({".aif", ".aiff", ".flac", ".mp3", ".ogg", ".wav"})
FRAMES = 32
SECONDS = length_of(FRAMES) / SAMPLE_RATE
TEST_EVERY = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sounds(InMemory):
    """Clips of sound."""

    sample_rate: int


def sounds(
    path: str, *, rate: int = SAMPLE_RATE, seconds: float = SECONDS, split: str = "train", labels: bool = True
) -> Sounds:
    """A sound file, or all in a folder and those below it, of any rate and number of channels, at `rate`, cut into
    clips. What is left over at the end of a file is dropped; a file shorter than a clip is filled up with silence.

    Every tenth file is the "test" split, or every tenth clip where there are fewer than ten files. Raises GencoreError:
    no sound there, a bad rate or length, an empty split; PluginError without gencore[audio].
    """
    length = round(rate * seconds) if rate >= 1 and seconds > 0 else 0
    if length < 1:
        raise GencoreError(f"the rate is {rate} and a clip {seconds} s; expected 1 or more, and more than no time.")
    root, files = _files(path)
    names = _classes(files, root) if labels else ()
    clips, owners = [], []
    for number, file in enumerate(files):
        sound = read_sound(file, rate=rate)[0]
        whole = sound[: len(sound) // length * length]
        cut = (whole if len(whole) else torch.nn.functional.pad(sound, (0, length - len(sound)))).view(-1, 1, length)
        clips.append(cut)
        owners += [number] * len(cut)
    owner = torch.tensor(owners)
    kept = _of_split(owner if len(files) >= TEST_EVERY else torch.arange(len(owner)), split)
    if not kept.any():
        raise GencoreError(f"sound: {shorten(path)} has {len(owner)} clips, none for {split}; expected 10 or more.")
    number_of = {name: number for number, name in enumerate(names)}
    label = torch.tensor([number_of[file.parent.name] for file in files])[owner[kept]] if names else None
    return Sounds(
        x=torch.cat(clips)[kept],
        label=label,
        num_classes=len(names) or None,
        class_names=names,
        name=f"{path} ({rate} Hz, {split})",
        sample_rate=rate,
    )


def open_sound(argument: str, options: OpenOptions) -> Sounds:
    """sound:PATH, sound:PATH,RATE or sound:PATH,RATE,SECONDS; condition="spectrogram" gives each clip its own, in place
    of a label. Raises GencoreError as `sounds`, and for other options and conditions."""
    spec = f"sound:{argument}"
    if (with_spectrogram := options.column == "spectrogram") is False:
        refuse(options, spec, "column")
    refuse(options, spec, "skip_corrupt", "data_range", "image_size")
    form = re.fullmatch(r"(?P<path>.+?)(,(?P<rate>\d+)(,(?P<seconds>\d+(\.\d*)?))?)?", argument, re.DOTALL)
    if form is None:
        raise GencoreError("sound: needs a file or folder: sound:PATH, such as sound:speech or sound:speech,16000,0.5.")
    rate, seconds = int(form["rate"] or SAMPLE_RATE), float(form["seconds"] or SECONDS)
    labels = options.labels and not with_spectrogram
    source = sounds(form["path"], rate=rate, seconds=seconds, split=options.split, labels=labels)
    if not with_spectrogram:
        return source
    if rate != SAMPLE_RATE or source.shape[1] < length_of(1):
        raise GencoreError(f"spectrograms are of sound at {SAMPLE_RATE} Hz, clips of {length_of(1)} numbers or more.")
    seen = described(source.x[:, 0])
    return dataclasses.replace(source, further={"x_input": seen}, conditions=(Image(shape=(1, BANDS, seen.shape[3])),))


def open_spectrograms(argument: str, options: OpenOptions) -> InMemory:
    """spectrograms:PATH, of clips of 0.28 s at 8 kHz. Raises GencoreError as `sounds`, and for other options."""
    refuse(options, f"spectrograms:{argument}", "skip_corrupt", "data_range", "column", "image_size")
    if not argument:
        raise GencoreError("spectrograms: needs a file or folder of sound: spectrograms:PATH.")
    source = sounds(argument, split=options.split, labels=options.labels)
    return InMemory(
        x=described(source.x[:, 0]),
        label=source.label,
        num_classes=source.num_classes,
        class_names=source.class_names,
        name=f"spectrograms of {source.name}",
    )


def described(sound: Tensor) -> Tensor:
    """Sound (N, T) at 8 kHz -> (N, 1, 64, frames), each clip brought to a mean square of 1; silence stays silent."""
    size = sound.square().mean(1, keepdim=True).sqrt().clamp_min(1e-4)
    return spectrogram(sound / size)[:, None]


def spectrogram_in(path: str, shape: tuple[int, ...]) -> Tensor:
    """The log-spectrogram (1, 64, frames) of the beginning of a sound file, filled up with silence if it is short.
    Raises GencoreError for another `shape`, and as read_sound."""
    if shape[:2] != (1, BANDS) or not shape[2]:
        raise GencoreError(f"the model takes pictures of {tuple(shape)}, no spectrograms: give a picture's file.")
    length = length_of(shape[2])
    sound = read_sound(path, rate=SAMPLE_RATE)[0][:length]
    return described(torch.nn.functional.pad(sound, (0, length - len(sound)))[None])[0]


def _files(path: str) -> tuple[Path, list[Path]]:
    root = Path(path).expanduser()
    if not root.exists():
        raise GencoreError(f"sound: there is no file or folder {shorten(path)}.")
    if not root.is_dir():
        return root.parent, [root]
    found = [file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()]
    files = [file for file in found if not any(part.startswith(".") for part in file.relative_to(root).parts)]
    if not files:
        raise GencoreError(f"sound: {shorten(path)} holds no file that ends in {', '.join(sorted(SUFFIXES))}.")
    return root, sorted(files, key=lambda file: [natural_key(part) for part in file.relative_to(root).parts])


def _classes(files: list[Path], root: Path) -> tuple[str, ...]:
    """The sub-folders, where every file lies directly in one of two or more."""
    parents = [file.relative_to(root).parts[:-1] for file in files]
    names = sorted({parts[0] for parts in parents if len(parts) == 1}, key=natural_key)
    return tuple(names) if len(names) > 1 and all(len(parts) == 1 for parts in parents) else ()


def _of_split(number: Tensor, split: str) -> Tensor:
    """Which of these numbers of files or clips belong to a split, bool."""
    test = number % TEST_EVERY == TEST_EVERY - 1
    return {"train": ~test, "test": test, "all": torch.ones_like(test)}[split]
