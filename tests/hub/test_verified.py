"""A large file is hashed once, and again as soon as anything about it has changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from gencore_hub import HubError, load_into, read_config, verified
from gencore_hub.weights import file_sha256

pytestmark = pytest.mark.skipif(not hasattr(os, "setxattr"), reason="this system has no extended attributes")

LONG_AGO = 1_700_000_000


@pytest.fixture
def path(save, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose weights were hashed and noted, long after they were written."""
    monkeypatch.setattr(verified, "WORTHWHILE", 1000)
    result = save(torch.nn.Linear(40, 40))
    weights = result / "model.safetensors"
    os.utime(weights, (LONG_AGO, LONG_AGO))
    verified.note(weights, file_sha256(weights))
    if not noted(result):
        pytest.skip("this file system keeps no extended attributes")
    return result


def noted(path: Path) -> bool:
    with open(path / "model.safetensors", "rb", buffering=0) as file:
        return verified.is_noted(file, read_config(path)["weights"]["model.safetensors"])


def load(path: Path) -> torch.nn.Module:
    return load_into(path, torch.nn.Linear(40, 40), read_config(path))


def flip_the_last_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_a_noted_file_is_not_hashed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("something was hashed")

    monkeypatch.setattr("hashlib.sha256", refuse)
    load(path)
    os.removexattr(path / "model.safetensors", verified.ATTRIBUTE)
    with pytest.raises(AssertionError, match="was hashed"):
        load(path)


def test_a_save_notes_what_it_has_hashed(path: Path, save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "SETTLED", 0)
    assert noted(save(torch.nn.Linear(40, 40), "another"))


def test_a_change_in_place_is_found(path: Path) -> None:
    flip_the_last_bit(path / "model.safetensors")
    assert not noted(path)
    with pytest.raises(HubError, match="damaged"):
        load(path)


def test_another_size_is_found_though_the_time_was_set_back(path: Path) -> None:
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"x")
    os.utime(weights, (LONG_AGO, LONG_AGO))
    assert not noted(path)


def test_a_note_does_not_travel_with_a_copy(path: Path, tmp_path: Path) -> None:
    """copy2 copies times and extended attributes too; what went wrong on the way is found."""
    copy = Path(shutil.copytree(path, tmp_path / "copy", copy_function=shutil.copy2))
    assert os.getxattr(copy / "model.safetensors", verified.ATTRIBUTE)
    assert not noted(copy)
    load(copy)
    flip_the_last_bit(copy / "model.safetensors")
    os.utime(copy / "model.safetensors", (LONG_AGO, LONG_AGO))
    with pytest.raises(HubError, match="damaged"):
        load(copy)


def test_weights_of_another_save_are_found_though_noted(path: Path, save, tmp_path: Path) -> None:
    other = save(torch.nn.Linear(40, 40), "other")
    shutil.copy2(other / "config.json", path / "config.json")
    with pytest.raises(HubError, match="another save"):
        load(path)


def test_a_file_that_has_just_changed_or_is_small_gets_no_note(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    changed = weights.stat().st_mtime_ns
    monkeypatch.setattr("time.time_ns", lambda: changed + verified.SETTLED - 1)
    verified.note(weights, file_sha256(weights))
    assert not noted(path)
    monkeypatch.undo()
    os.utime(weights, (LONG_AGO + 1, LONG_AGO + 1))
    assert weights.stat().st_size < verified.WORTHWHILE
    verified.note(weights, file_sha256(weights))
    assert not noted(path)
