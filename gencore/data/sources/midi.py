"""Melodies in MIDI files: in, as sequences of notes, and out. Needs mido (pip install "gencore[midi]").

key   shape, dtype
x     (N, steps, 4) float32, as of gencore.data.toys.tones: length [beats], pitch [semitones above middle C], velocity
      in [0, 1], and gap, the time since the last onset [beats]

The notes of all tracks and channels but the drums' stand one after another by their onsets, chords from low to high
with gaps of 0; a file is cut into pieces of `steps` notes. Tempo is not kept: a beat is a quarter note.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gencore.data.opening_rules import refuse, shorten
from gencore.data.options import OpenOptions, Split
from gencore.data.regular import open_regular
from gencore.data.sources.memory import InMemory
from gencore.errors import GencoreError
from gencore.extras import from_extra

STEPS = 16
MIDDLE_C = 60
DRUMS = 9  # channel 10, counted from 0
SUFFIXES = (".mid", ".midi")
MAX_BYTES = 2**24
TEST_SHARE = 10  # one piece in ten
TICKS = 480  # of a beat, in files that are written
REST = 4.0  # beats between melodies


class Note(NamedTuple):
    """Onset and length in beats; pitch and velocity as MIDI counts them, 0 to 127."""

    onset: float
    pitch: int
    length: float
    velocity: int


def read_notes(path: Path) -> list[Note]:
    """The notes of a MIDI file by their onsets. One that nobody ends lasts to the end of its track.

    Raises GencoreError for a file that is missing, damaged, cut short, larger than MAX_BYTES, or timed in frames.
    """
    mido = from_extra("mido", "mido", "midi")
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise GencoreError(f"{path} is larger than {MAX_BYTES} bytes; no MIDI file of music is.")
        song = mido.MidiFile(file=io.BytesIO(data))
    except GencoreError:
        raise
    except FileNotFoundError as error:
        raise GencoreError(f"{path} does not exist.") from error
    except Exception as error:  # mido raises whatever damaged bytes led it to
        raise GencoreError(f"{path} cannot be read as MIDI: {type(error).__name__}: {error}".rstrip(": ")) from error
    if song.ticks_per_beat < 1:
        raise GencoreError(f"{path} counts time in frames; expected ticks of a beat.")
    return sorted(note for track in song.tracks for note in _track_notes(track, song.ticks_per_beat))


def _track_notes(track: Any, ticks: int) -> Iterator[Note]:
    now, sounding = 0, dict[tuple[int, int], list[tuple[int, int]]]()
    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == DRUMS:
            continue
        key = (message.channel, message.note)
        if message.type == "note_on" and message.velocity:
            sounding.setdefault(key, []).append((now, message.velocity))
        elif sounding.get(key):
            start, velocity = sounding[key].pop(0)
            yield Note(start / ticks, message.note, (now - start) / ticks, velocity)
    for (_, pitch), begun in sounding.items():
        yield from (Note(start / ticks, pitch, (now - start) / ticks, velocity) for start, velocity in begun)


def features(notes: list[Note]) -> Tensor:
    """Notes by their onsets as rows of x, (len(notes), 4); the first gap is 0."""
    rows, last = [], notes[0].onset if notes else 0.0
    for note in notes:
        rows.append((note.length, note.pitch - MIDDLE_C, note.velocity / 127, note.onset - last))
        last = note.onset
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def midi(path: str, *, steps: int = STEPS, split: Split = "train") -> InMemory:
    """Pieces of `steps` notes of a .mid file, or of all in a folder and below it, by name; every tenth is for "test".

    What is left over at a file's end is dropped. Raises GencoreError as read_notes, and where there is no piece.
    """
    if steps < 2:
        raise GencoreError(f"steps is {steps}; expected at least 2 notes.")
    place = Path(os.path.expanduser(path))
    files = sorted(file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES) if place.is_dir() else [place]
    if not files:
        raise GencoreError(f"midi: {shorten(path)} holds no .mid file.")
    pieces = []
    for file in files:
        rows = features(read_notes(file))
        whole = rows[: len(rows) // steps * steps].reshape(-1, steps, 4).clone()
        whole[:, 0, 3] = 0  # a melody begins
        pieces.append(whole)
    x = torch.cat(pieces)
    test = torch.arange(len(x)) % TEST_SHARE == TEST_SHARE - 1
    x = x if split == "all" else x[test == (split == "test")]
    if not len(x):
        raise GencoreError(f"midi: {shorten(path)} has no {steps} notes in a row ({split}). Take fewer: midi:PATH,8.")
    return InMemory(x=x, name=f"melodies of {steps} notes in {path} ({split})")


def open_midi(argument: str, options: OpenOptions) -> InMemory:
    """midi:PATH, or midi:PATH,STEPS. Raises GencoreError as `midi`, and for options of pictures."""
    refuse(options, f"midi:{argument}", "skip_corrupt", "data_range", "column", "image_size")
    form = re.fullmatch(r"(?P<path>.+?)(,(?P<steps>\d{1,6}))?", argument, re.DOTALL)
    if form is None:
        raise GencoreError("midi: needs a file or folder: midi:PATH, such as midi:songs or midi:songs,32.")
    return midi(form["path"], steps=int(form["steps"] or STEPS), split=options.split)


def midi_bytes(x: Tensor) -> bytes:
    """Melodies x (N, steps, 4) as one MIDI file, one after another with REST beats between.

    Numbers that MIDI cannot hold go to the nearest that it can. Raises PluginError without mido, GencoreError for
    another shape, NaN or infinity.
    """
    if x.ndim != 3 or x.shape[2] != 4 or not x.isfinite().all():
        raise GencoreError(
            f"got {tuple(x.shape)}; expected melodies (N, steps, 4): length, pitch, velocity, gap, without NaN."
        )
    mido = from_extra("mido", "mido", "midi")
    events, start = list[tuple[int, int, Any]](), 0
    for melody in x.double().cpu():
        onset = end = start
        for length, pitch, velocity, gap in melody.tolist():
            onset += max(0, round(gap * TICKS))
            stop = onset + max(1, round(length * TICKS))
            note, loud = min(max(round(pitch) + MIDDLE_C, 0), 127), min(max(round(velocity * 127), 1), 127)
            events += [(onset, 1, mido.Message("note_on", note=note, velocity=loud))]
            events += [(stop, 0, mido.Message("note_off", note=note))]
            end = max(end, stop)
        start = end + round(REST * TICKS)
    track, now = mido.MidiTrack(), 0
    for at, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=at - now))
        now = at
    song, buffer = mido.MidiFile(ticks_per_beat=TICKS, tracks=[track]), io.BytesIO()
    song.save(file=buffer)
    return buffer.getvalue()
