"""Melodies from and to MIDI files."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import mido
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencore.data import check_batch, open_source
from gencore.data.sources.midi import Note, midi_bytes, read_notes
from gencore.data.toys.tones import melodies
from gencore.errors import GencoreError, PluginError

files = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def song(*tracks: list[mido.Message | mido.MetaMessage], ticks: int = 100) -> bytes:
    buffer = io.BytesIO()
    mido.MidiFile(ticks_per_beat=ticks, tracks=[mido.MidiTrack(track) for track in tracks]).save(file=buffer)
    return buffer.getvalue()


def on(note: int, time: int = 0, velocity: int = 127, channel: int = 0) -> mido.Message:
    return mido.Message("note_on", note=note, time=time, velocity=velocity, channel=channel)


def off(note: int, time: int = 0) -> mido.Message:
    return mido.Message("note_off", note=note, time=time)


def test_notes_of_all_tracks_by_their_onsets(tmp_path: Path) -> None:
    """A chord, a note that a velocity of 0 ends, drums that are no notes, a note that nobody ends, other messages."""
    first = [on(64), on(60), off(64, 50), off(60, 50), on(62, 100, 64), on(62, 25, 0), on(70, 0), off(99)]
    second = [mido.MetaMessage("set_tempo", tempo=300_000), on(40, 150, channel=9), on(55, 0), off(55, 10)]
    path = tmp_path / "a.mid"
    path.write_bytes(song(first, second))
    assert read_notes(path) == [
        Note(0.0, 60, 1.0, 127),
        Note(0.0, 64, 0.5, 127),
        Note(1.5, 55, 0.1, 127),
        Note(2.0, 62, 0.25, 64),
        Note(2.25, 70, 0.0, 127),
    ]


def test_pieces_of_a_folder_and_their_splits(tmp_path: Path) -> None:
    """22 pieces of 2 notes, every tenth for the test; pitch from middle C, and a gap of 0 at the beginning of each."""
    (tmp_path / "deep").mkdir()
    notes = [[on(60 + i % 3, 50, 64), off(60 + i % 3, 25)] for i in range(23)]
    for name in ("b.mid", "deep/a.MIDI"):
        (tmp_path / name).write_bytes(song([message for pair in notes for message in pair]))
    every = open_source(f"midi:{tmp_path},2", split="all")
    assert (len(every), every.shape) == (22, (2, 4))
    train, test = (open_source(f"midi:{tmp_path},2", split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (20, 2)
    batch = every.fetch(torch.arange(22))
    check_batch(batch, every)
    expected = torch.tensor([[[0.25, 0, 64 / 127, 0], [0.25, 1, 64 / 127, 0.75]]])
    torch.testing.assert_close(batch["x"][:1], expected)
    torch.testing.assert_close(test.fetch(torch.tensor([0]))["x"], batch["x"][9:10])


def test_written_melodies_are_read_back(tmp_path: Path) -> None:
    """Up to a tick of 1/480 beat and a velocity of 1/127; notes of a melody that overlap stay whole."""
    x = melodies(torch.arange(3), steps=8)
    x[0, 1, 3] = 0.125  # the second begins while the first sounds
    (tmp_path / "a.mid").write_bytes(midi_bytes(x))
    back = open_source(f"midi:{tmp_path / 'a.mid'},8", split="all").fetch(torch.arange(3))["x"]
    torch.testing.assert_close(back[..., :2], x[..., :2], atol=1 / 480, rtol=0)
    torch.testing.assert_close(back[..., 2], x[..., 2], atol=1 / 127, rtol=0)
    torch.testing.assert_close(back[..., 3], x[..., 3], atol=2 / 480, rtol=0)


@files
@given(rows=st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 4), min_size=1, max_size=4))
def test_whatever_a_network_says_can_be_written(tmp_path: Path, rows: list[tuple[float, ...]]) -> None:
    (tmp_path / "a.mid").write_bytes(midi_bytes(torch.tensor([rows])))
    assert len(read_notes(tmp_path / "a.mid")) == len(rows)


def test_what_cannot_be_written() -> None:
    with pytest.raises(GencoreError, match="expected melodies"):
        midi_bytes(torch.zeros(2, 3, 5))
    with pytest.raises(GencoreError, match="NaN"):
        midi_bytes(torch.full((1, 2, 4), torch.nan))


@files
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.none() | st.integers(0, 10_000))
def test_damaged_files_are_refused_or_read(tmp_path: Path, place: int, byte: int, cut: int | None) -> None:
    data = bytearray(midi_bytes(melodies(torch.arange(1), steps=4)))
    data[place % len(data)] = byte
    (tmp_path / "a.mid").write_bytes(data if cut is None else data[: cut % len(data)])
    with contextlib.suppress(GencoreError):
        assert all(note.length >= 0 for note in read_notes(tmp_path / "a.mid"))


@files
@given(content=st.binary(max_size=100), magic=st.booleans())
def test_random_bytes_are_refused_or_read(tmp_path: Path, content: bytes, magic: bool) -> None:
    head = b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\x40" if magic else b""
    (tmp_path / "a.mid").write_bytes(head + content)
    with contextlib.suppress(GencoreError):
        read_notes(tmp_path / "a.mid")


@pytest.mark.parametrize("cut", [0, 3, 13, 20, 40])
def test_cut_files_are_refused(tmp_path: Path, cut: int) -> None:
    data = midi_bytes(melodies(torch.arange(1), steps=4))
    (tmp_path / "a.mid").write_bytes(data[:cut])
    with pytest.raises(GencoreError, match="cannot be read as MIDI"):
        open_source(f"midi:{tmp_path / 'a.mid'}")


def test_what_is_not_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(b"MThd\0\0\0\6\0\1\0\1\xe7\x28MTrk\0\0\0\4\0\xff\x2f\0")
    for spec, message in (
        (f"midi:{path}", "counts time in frames"),
        ("midi:", "needs a file or folder"),
        (f"midi:{tmp_path / 'none.mid'}", "does not exist"),
        (f"midi:{path},1", "steps is 1"),
    ):
        with pytest.raises(GencoreError, match=message):
            open_source(spec)
    path.write_bytes(song([on(60), off(60, 5)]))
    with pytest.raises(GencoreError, match="has no 16 notes in a row"):
        open_source(f"midi:{path}")
    path.unlink()
    with pytest.raises(GencoreError, match=r"holds no \.mid file"):
        open_source(f"midi:{tmp_path}")
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(PluginError, match=r'pip install "gencore\[midi\]"'):
        open_source(f"midi:{path}")
