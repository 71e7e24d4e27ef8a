"""Checkpoints on the disk: what counts as one, how many are kept, what comes back."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
import torch

from gencore.errors import GencoreError
from gencore.training.checkpoint import Checkpoint, checkpoints, pack_optimizer, read, unpack_optimizer, write

SMALL = Checkpoint(tensors={"a": torch.zeros(2)}, values={"step": 1})


def names(folder: Path) -> list[str]:
    return [path.name for path in checkpoints(folder)]


def test_the_newest_are_kept_and_nothing_else_counts(tmp_path: Path) -> None:
    assert names(tmp_path / "none") == []
    for step in (2, 10, 100):
        write(tmp_path, step, SMALL, keep=2)
    assert names(tmp_path) == ["step-00000010", "step-00000100"]
    for stray in ("step-00000200.old", "step-1", "my-step-00000300"):
        (tmp_path / stray).mkdir()
    (tmp_path / "step-00000400").write_bytes(b"no directory")
    assert names(tmp_path) == ["step-00000010", "step-00000100"]


def test_a_kill_while_an_old_one_is_dropped_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path, **options: bool) -> None:
        if "step-00000001" not in folder.name:
            return really_remove(folder, **options)
        (folder / "state.safetensors").unlink()
        raise KeyboardInterrupt

    really_remove = shutil.rmtree
    write(tmp_path, 1, SMALL, keep=1)
    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, 2, SMALL, keep=1)
    assert names(tmp_path) == ["step-00000002"]


def test_tied_and_strided_tensors_come_back(tmp_path: Path) -> None:
    image, row = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last), torch.randn(5)
    tensors = {"image": image, "tied image": image, "row": row, "tied row": row, "turned": torch.randn(3, 5).t()}
    write(tmp_path, 1, Checkpoint(tensors=tensors, values={}), keep=1)
    back = read(checkpoints(tmp_path)[0]).tensors
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
@pytest.mark.parametrize("data", [None, b"", b"{", b"\xff"])
def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path, file: str, data: bytes | None) -> None:
    path = write(tmp_path, 1, SMALL, keep=1) / file
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    with pytest.raises(GencoreError, match=r"step-00000001 cannot be read .* continue from the one before"):
        read(path.parent)


def test_an_optimiser_goes_on_where_it_stopped() -> None:
    """Its pairs are lists in JSON, and tuples again."""
    parameters = [torch.nn.Parameter(torch.ones(2, 3, 1, 1)), torch.nn.Parameter(torch.ones(2))]
    first, second = (torch.optim.Adam(parameters, lr=0.1, betas=betas) for betas in ((0.5, 0.9), (0.9, 0.999)))
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 2.0)
    first.step()
    tensors, values = pack_optimizer(first)
    values["param_groups"][0]["betas"] = list(values["param_groups"][0]["betas"])
    unpack_optimizer(second, tensors, values)
    assert second.param_groups[0]["betas"] == (0.5, 0.9)
    for parameter in parameters:
        assert torch.equal(second.state[parameter]["exp_avg"], first.state[parameter]["exp_avg"])
        assert second.state[parameter]["step"].item() == 1


@pytest.mark.parametrize("file", ["state.safetensors", "state.json", "SHA256SUMS"])
def test_every_flipped_bit_is_seen(tmp_path: Path, file: str) -> None:
    """Six places in each file, a bit each."""
    path = write(tmp_path, 1, SMALL, keep=1) / file
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 6)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(GencoreError, match="step-00000001 cannot be read"):
            read(path.parent)
    path.write_bytes(whole)
    assert read(path.parent).values == SMALL.values


def test_halves_of_two_checkpoints_are_no_checkpoint(tmp_path: Path) -> None:
    first, second = (write(tmp_path, k, Checkpoint(tensors=SMALL.tensors, values={"step": k}), keep=2) for k in (1, 2))
    shutil.copy(first / "state.json", second / "state.json")
    with pytest.raises(GencoreError, match=r"state\.json is not what was written"):
        read(second)


@pytest.mark.parametrize("text", ["{", "[]", "3", "[" * 100_000, "\xff"])
def test_values_that_are_no_object_are_named(tmp_path: Path, text: str) -> None:
    """Though their hash is right."""
    path = write(tmp_path, 1, SMALL, keep=1)
    (path / "state.json").write_text(text, encoding="latin-1")
    names = ("state.safetensors", "state.json")
    sums = [f"{hashlib.sha256((path / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (path / "SHA256SUMS").write_text("".join(sums))
    with pytest.raises(GencoreError, match=r"state\.json"):
        read(path)


@pytest.mark.parametrize("file", ["state.safetensors", "state.json", "SHA256SUMS"])
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_links_and_fifos_are_not_read(tmp_path: Path, file: str, kind: str) -> None:
    path = write(tmp_path / "run", 1, SMALL, keep=1) / file
    path.rename(tmp_path / file)
    path.symlink_to(tmp_path / file) if kind == "link" else os.mkfifo(path)
    with pytest.raises(GencoreError, match=f"{file} is a link or no regular file"):
        read(path.parent)
    (tmp_path / "run" / "step-00000002").symlink_to(tmp_path)
    assert names(tmp_path / "run") == ["step-00000001"]


def test_what_a_killed_removal_leaves_is_swept(tmp_path: Path) -> None:
    for left in (".step-00000001", ".step-00000001.0"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "state.json").write_text("{}")
    (tmp_path / ".step-00000003").symlink_to(tmp_path)
    (tmp_path / ".mine").mkdir()
    for step in (1, 2):
        write(tmp_path, step, SMALL, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine", ".step-00000003", "step-00000002"]
