"""Atomic writing: what a kill, a full disk or a second writer leaves."""

from __future__ import annotations

import os
import resource
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from gencore_hub import StorageError, atomic_directory, atomic_write
from gencore_hub.atomic import SUFFIX, lock_directory, unlock

from .helpers import die_at


def leftovers(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(SUFFIX)]


def test_atomic_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    atomic_write(path, b"old")
    with open(path, "rb") as reader:
        atomic_write(str(path), b"new")
        assert reader.read() == b"old"  # the old file itself was never written to
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["metrics.json"]


def test_a_kill_at_any_instant_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path, seen, step = tmp_path / "state", set(), 1
    path.write_bytes(b"old" * 1000)
    while die_at(step, lambda: atomic_write(path, b"new" * 2000)):
        seen.add(path.read_bytes())
        path.write_bytes(b"old" * 1000)
        step += 1
    assert step > 8
    assert seen == {b"old" * 1000, b"new" * 2000}
    assert leftovers(tmp_path) == []  # the last, whole run removed what the killed ones had left


def test_atomic_directory_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "checkpoints" / "step-200"
    with atomic_directory(target) as new:
        (new / "state").write_bytes(b"1")
        (new / "sub").mkdir()
        (new / "sub" / "more").write_bytes(b"2")
        assert not target.exists()
    assert (target / "sub" / "more").read_bytes() == b"2"
    assert os.listdir(target.parent) == ["step-200"]


def test_a_killed_directory_is_absent_or_whole_and_its_rest_goes_with_the_next(tmp_path: Path) -> None:
    def write(name: str) -> None:
        with atomic_directory(tmp_path / name) as new:
            (new / "a").write_bytes(b"a")
            (new / "b").write_bytes(b"b")

    step, whole, absent = 1, 0, 0
    while die_at(step, partial(write, f"step-{step}")):
        target = tmp_path / f"step-{step}"
        whole, absent = whole + target.exists(), absent + (not target.exists())
        assert not target.exists() or sorted(os.listdir(target)) == ["a", "b"]
        assert len(leftovers(tmp_path)) <= 1
        step += 1
    assert whole > 0
    assert absent > 8
    assert leftovers(tmp_path) == []


def test_everything_is_on_the_disk_before_it_is_renamed_and_the_rename_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, int]] = []
    renamed: list[list[tuple[int, int]]] = []

    def identity(path: int | Path) -> tuple[int, int]:
        return os.stat(path).st_dev, os.stat(path).st_ino

    def rename(source: Path, target: Path) -> None:
        needed = [source, *source.rglob("*")] if source.is_dir() else [source]
        assert {identity(path) for path in needed} <= set(synced)
        renamed.append(list(synced))
        really_rename(source, target)

    really_rename = os.rename
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(identity(descriptor)))
    monkeypatch.setattr("os.replace", rename)
    atomic_write(tmp_path / "file", b"x")
    assert synced[len(renamed[0]) :] == [identity(tmp_path)]
    synced.clear()
    monkeypatch.setattr("os.rename", rename)
    with atomic_directory(tmp_path / "folder") as new:
        (new / "sub").mkdir()
        (new / "sub" / "file").write_bytes(b"x")
    assert synced[len(renamed[1]) :] == [identity(tmp_path)]
    assert len(renamed) == 2


def test_nothing_appears_when_the_block_raises(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic_directory(tmp_path / "new") as new:
            (new / "half").write_bytes(b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_atomic_directory_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(StorageError, match="exists already"), atomic_directory(tmp_path / "old"):
        raise AssertionError("the block must not run")


def test_a_link_to_nowhere_is_in_the_way_too(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="exists already"), atomic_directory(tmp_path / "link"):
        raise AssertionError("the block must not run")


def test_a_directory_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_directory(tmp_path / "new") as new:
            (new / "a").write_bytes(b"a")
            (tmp_path / "new").mkdir()
            (tmp_path / "new" / "theirs").write_bytes(b"t")

    with pytest.raises(StorageError):
        write()
    assert os.listdir(tmp_path / "new") == ["theirs"]
    assert leftovers(tmp_path) == []


def test_a_name_may_be_as_long_as_the_file_system_lets_it(tmp_path: Path) -> None:
    atomic_write(tmp_path / ("n" * 255), b"x")
    assert os.listdir(tmp_path) == ["n" * 255]


def test_writing_keeps_no_file_open(tmp_path: Path) -> None:
    atomic_write(tmp_path / "file", b"x")
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            assert not os.readlink(descriptor).startswith(str(tmp_path))


def test_a_folder_that_was_cleaned_away_before_it_was_locked_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = []

    def lock(path: Path) -> int:
        descriptor = lock_directory(path)
        if not locked:
            os.rmdir(path)
        locked.append(path)
        return descriptor

    monkeypatch.setattr("gencore_hub.atomic.lock_directory", lock)
    atomic_write(tmp_path / "file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"
    assert len(locked) == 2


def test_a_running_writer_is_not_cleaned_away(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "slow") as new:
        (new / "a").write_bytes(b"a")
        atomic_write(tmp_path / "fast", b"f")
        assert (new / "a").exists()
    assert sorted(os.listdir(tmp_path)) == ["fast", "slow"]


def test_the_lock_excludes_and_ends(tmp_path: Path) -> None:
    first = lock_directory(tmp_path)
    with pytest.raises(BlockingIOError):
        lock_directory(tmp_path)
    copy = os.dup(first)  # as a process has that was forked meanwhile
    unlock(first)
    unlock(lock_directory(tmp_path))
    os.close(copy)


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old_limit[1]))
        with pytest.raises(StorageError, match=r"could not write .*file.*Free some space"):
            atomic_write(path, b"n" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="could not write"):
        atomic_write(tmp_path / "file" / "below", b"x")
    with pytest.raises(StorageError, match="could not write"), atomic_directory(tmp_path / "file" / "below" / "x"):
        pass
