"""Saving: a kill at any instant leaves the old model or the new one, whole, and other files are left alone."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from gencore_hub import HubError, StorageError, load_into, read_config, write_directory
from gencore_hub.atomic import lock_directory, unlock
from gencore_hub.directory import finish_write
from gencore_hub.files import PENDING, find

from .helpers import CONFIG, die_at

OLD, NEW = {**CONFIG, "config": {"age": "old"}}, {**CONFIG, "config": {"age": "new"}}
SIZE = 6


def model(value: float) -> torch.nn.Linear:
    result = torch.nn.Linear(SIZE, SIZE)
    torch.nn.init.constant_(result.weight, value)
    return result


def loaded(path: Path) -> tuple[str, float]:
    """What a reader gets: the age in the configuration, and the value in the weights."""
    config = read_config(path)
    module = load_into(path, model(-1.0), config)
    assert module.weight.unique().numel() == 1
    return config["config"]["age"], module.weight[0, 0].item()


def test_a_save_is_on_the_disk_before_it_is_published_and_its_places_before_its_folder_goes(
    save, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    published: list[set[str]] = []
    first: list[str] = []

    def rename(source: Path, target: Path) -> None:
        if target.name == PENDING:
            assert {str(path) for path in (source, *source.iterdir())} <= set(synced)
            published.append(set(os.listdir(source)))
        else:
            assert synced in ([str(target.parent)], [])
            first.extend(synced)
        synced.clear()
        really_rename(source, target)

    def remove(folder: Path, **options: bool) -> None:
        assert folder.name != PENDING or synced == [str(folder.parent)]
        really_remove(folder, **options)

    really_rename, really_remove = os.rename, shutil.rmtree
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    monkeypatch.setattr("os.rename", rename)
    monkeypatch.setattr("os.replace", rename)
    monkeypatch.setattr("shutil.rmtree", remove)
    path = save(model(1.0))
    assert first == [str(path)]  # between the publication and the first move
    assert published == [{"MANIFEST", "README.md", "config.json", "model.safetensors", "samples.png"}]


def test_files_of_a_save(save) -> None:
    path = save(model(1.0))
    assert sorted(os.listdir(path)) == ["README.md", "config.json", "model.safetensors", "samples.png"]
    assert (path / "README.md").read_text() == "# a card\n"
    assert (path / "samples.png").read_bytes() == b"\x89PNG"


def test_equal_models_give_equal_bytes(save) -> None:
    one = model(1.0)
    first, second = save(one, "first"), save(one, "second")
    for name in os.listdir(first):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_new_save_replaces_all_of_the_old_and_nothing_else(save) -> None:
    path = save(model(1.0), config=OLD, max_shard_size=100)
    assert (path / "model.safetensors.index.json").exists()
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "state.pt").write_bytes(b"s")
    (path / "metrics.jsonl").write_bytes(b"m")
    with open(path / "config.json", "rb") as reader:
        save(model(2.0), config=NEW, samples_png=None)
        assert json.loads(reader.read())["config"] == OLD["config"]  # the old file itself was never written to
    assert sorted(os.listdir(path)) == ["README.md", "checkpoints", "config.json", "metrics.jsonl", "model.safetensors"]
    assert (path / "checkpoints" / "state.pt").read_bytes() == b"s"
    assert loaded(path) == ("new", 2.0)


def test_the_index_is_the_hubs(save) -> None:
    path = save(model(1.0), max_shard_size=150)
    index = json.loads((path / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == {"weight", "bias"}
    assert set(index["weight_map"].values()) == set(read_config(path)["weights"])
    assert index["metadata"]["total_size"] == 4 * (SIZE * SIZE + SIZE)


@pytest.mark.parametrize("shards", [("5GB", "5GB"), ("5GB", 100), (100, "5GB")], ids=str)
def test_a_kill_at_any_instant_leaves_one_whole_model(
    save, tmp_path: Path, shards: tuple[int | str, int | str]
) -> None:
    save(model(1.0), "old", config=OLD, max_shard_size=shards[0])
    target, seen, step = tmp_path / "target", [], 1
    save(model(3.0), "warm", config=NEW, max_shard_size=shards[1])  # imports are no actions on the target

    def write() -> None:
        write_directory(target, config=NEW, module=model(2.0), card="new", max_shard_size=shards[1])

    while True:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(tmp_path / "old", target)
        (target / "metrics.jsonl").write_bytes(b"m")
        killed = die_at(step, write)
        seen.append(loaded(target))
        assert (target / "metrics.jsonl").read_bytes() == b"m"
        finish_write(target)  # what the next writer does first
        assert loaded(target) == seen[-1]
        assert not (target / PENDING).exists()
        if not killed:
            break
        step += 1
    changes = sum(one != two for one, two in pairwise(seen))
    assert (seen[0], seen[-1], changes) == (("old", 1.0), ("new", 2.0), 1)
    assert step > 20


def test_the_writer_after_a_kill_removes_the_rest(save, tmp_path: Path) -> None:
    for step in range(1, 200, 7):
        path = save(model(1.0), config=OLD)
        killed = die_at(step, lambda: write_directory(tmp_path / "model", config=NEW, module=model(2.0), card="new"))
        save(model(3.0), config=OLD)
        assert sorted(os.listdir(path)) == ["README.md", "config.json", "model.safetensors", "samples.png"]
        assert loaded(path) == ("old", 3.0)
        if not killed:
            return
    raise AssertionError("the write never ended")


def test_a_reader_prefers_the_save_that_is_being_published(save) -> None:
    path = save(model(1.0), config=OLD)
    new = save(model(2.0), "new", config=NEW)
    (path / PENDING).mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(new / name, path / PENDING / name)
    assert find(path, "config.json").parent.name == PENDING
    assert loaded(path) == ("new", 2.0)


def test_a_broken_link_in_the_save_being_published_is_not_passed_over(save) -> None:
    path = save(model(1.0), config=OLD)
    (path / PENDING).mkdir()
    (path / PENDING / "model.safetensors").symlink_to(path / "nowhere")
    with pytest.raises(HubError, match=r"lacks model\.safetensors"):
        loaded(path)


@pytest.mark.parametrize("kind", ["pipe", "loop"])
def test_weights_that_are_no_regular_file(save, kind: str) -> None:
    path = save(model(1.0))
    config, weights = read_config(path), path / "model.safetensors"
    weights.unlink()
    if kind == "pipe":
        os.mkfifo(weights)
    else:
        weights.symlink_to(weights)
    with pytest.raises(HubError, match=r"not a regular file|cannot read model\.safetensors"):
        load_into(path, model(-1.0), config)


def test_a_full_disk_keeps_the_old_model(save) -> None:
    path = save(model(1.0), config=OLD)
    big = torch.nn.Linear(300, 300)
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, old_limit[1]))
        with pytest.raises(StorageError, match=r"could not write .*model\.safetensors.*Nothing that was there is lost"):
            save(big, config=NEW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert sorted(os.listdir(path)) == ["README.md", "config.json", "model.safetensors", "samples.png"]
    assert loaded(path) == ("old", 1.0)


def test_two_writers_at_once_are_told(save) -> None:
    path = save(model(1.0), config=OLD)
    lock = lock_directory(path)
    with pytest.raises(StorageError, match="another process is saving"):
        save(model(2.0), config=NEW)
    unlock(lock)
    assert loaded(path) == ("old", 1.0)


@pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors", "samples.png"])
def test_files_that_are_not_ours_are_not_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'{"model_type": "bert"}')
    with pytest.raises(HubError, match=f"holds .*{name}|holds something else"):
        write_directory(tmp_path, config=CONFIG, module=model(1.0), card="")
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b'{"model_type": "bert"}'


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(StorageError, match="could not write"):
        write_directory(tmp_path / "file", config=CONFIG, module=model(1.0), card="")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"lr": float("nan")}}, "cannot be saved"),
        ({"config": {"dtype": torch.float32}}, "not JSON serializable"),
        ({"sytem": "x"}, "unknown key 'sytem'"),
        ({"system": "a b"}, "'system' is 'a b'"),
        ({"config_version": None}, "'config_version' is None"),
    ],
)
def test_a_configuration_that_would_not_load_is_not_saved(save, tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(HubError, match=message):
        save(model(1.0), config={**CONFIG, **change})
    assert os.listdir(tmp_path / "model") == []


def test_a_pending_folder_of_a_stranger_moves_nothing_else(save, tmp_path: Path) -> None:
    path = save(model(1.0), config=OLD)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "MANIFEST").write_text('["config.json"]')
    (tmp_path / "secret" / "config.json").write_text("{}")
    (path / PENDING).symlink_to(tmp_path / "secret")
    with pytest.raises(HubError, match="is a link"):
        save(model(2.0), config=NEW)
    with pytest.raises(HubError, match="is a link to"):
        read_config(path)
    (path / PENDING).unlink()
    (path / PENDING).mkdir()
    for manifest in ('["../secret/config.json"]', '{"config.json": 1}', "[1]", "["):
        (path / PENDING / "MANIFEST").write_text(manifest)
        with pytest.raises(HubError):
            save(model(2.0), config=NEW)
    assert sorted(os.listdir(tmp_path / "secret")) == ["MANIFEST", "config.json"]
    assert loaded(path) == ("old", 1.0)
