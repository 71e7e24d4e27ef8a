"""config.json: strict JSON of ours, or an error that names what is wrong."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencore_hub import HubError, read_config
from gencore_hub.files import open_inside
from gencore_hub.strict_json import MAX_DEPTH, strict_json

from .helpers import CONFIG

WHOLE: dict[str, Any] = {**CONFIG, "format": "gencore", "weights": {"model.safetensors": "0" * 64}}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with something in the place of the weights."""
    (tmp_path / "model.safetensors").write_bytes(b"")
    return tmp_path


def write(directory: Path, data: bytes | dict[str, Any]) -> Path:
    (directory / "config.json").write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return directory


def test_reads_back_what_was_saved(save) -> None:
    config = read_config(save(torch.nn.Linear(2, 2)))
    assert {key: config[key] for key in CONFIG} == CONFIG
    assert config["format"] == "gencore"
    assert list(config["weights"]) == ["model.safetensors"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not strict JSON"),
        (b"\x80\x04K\x01.", "not strict JSON"),
        (b"PK\x03\x04", "not strict JSON"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ("{}".encode("utf-16"), "not strict JSON"),
        (b"[]", r"holds \[\] instead of an object"),
        (b'{"format": "gencore", "format": "gencore"}', "'format' stands twice"),
        (b'{"a": {"b": 1, "b": 2}}', "'b' stands twice"),
        (b'{"lr": NaN}', "NaN is not a number"),
        (b'{"lr": -Infinity}', "-Infinity is not a number"),
        (b'{"lr": 1e999}', "'1e999' is out of range"),
        (b'{"n": ' + b"9" * 5000 + b"}", "more than 20 digits"),
        (b'{"n": ' + b"9" * 21 + b"}", "more than 20 digits"),
        (b'{"name": "\\ud800"}', "surrogate"),
        (b'{"\\ud800": "name"}', "surrogate"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nested deeper"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested deeper"),
        (b'{"a": 1} trailing', "Extra data"),
        (b'"' + b"a" * 2**22 + b'"', "larger than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_strict_json_is_refused(directory: Path, data: bytes, message: str) -> None:
    with pytest.raises(HubError, match=rf"config.json is not gencore's: .*{message}"):
        read_config(write(directory, data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "transformers"}, "'format' is 'transformers' instead of 'gencore'"),
        ({"format": None}, "'format' is None"),
        ({"sytem": "dcgan"}, "unknown key 'sytem'; did you mean 'system'?"),
        ({"system": ""}, "'system' is ''"),
        ({"system": "../../etc/passwd"}, "'system' is '../../etc/passwd'"),
        ({"system": "a\nb"}, "'system' is"),
        ({"family": 3}, "'family' is 3 instead of str"),
        ({"config": []}, r"'config' is \[\] instead of dict"),
        ({"config_version": True}, "'config_version' is True instead of int"),
        ({"config_version": -1}, "instead of 0 or more"),
        ({"distribution": {"name": "gencore"}}, "'distribution' is"),
        ({"distribution": {"name": "gencore", "version": 1}}, "'distribution version' is 1"),
        ({"weights": {}}, "'weights' is empty"),
        ({"weights": {"../model.safetensors": "0" * 64}}, "names '../model.safetensors'"),
        ({"weights": {"/etc/passwd": "0" * 64}}, "names '/etc/passwd'"),
        ({"weights": {"model.bin": "0" * 64}}, "names 'model.bin'"),
        ({"weights": {"model.safetensors": "xyz"}}, "the sha256 of 'model.safetensors' is 'xyz'"),
    ],
)
def test_a_wrong_key_is_named(directory: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(HubError, match=message):
        read_config(write(directory, {**WHOLE, **change}))


@pytest.mark.parametrize("key", sorted(set(WHOLE) - {"format"}))
def test_a_missing_key_is_named(directory: Path, key: str) -> None:
    with pytest.raises(HubError, match=f"the key '{key}' is missing"):
        read_config(write(directory, {name: value for name, value in WHOLE.items() if name != key}))


def test_the_unchanged_whole_is_accepted(directory: Path) -> None:
    assert read_config(write(directory, WHOLE)) == WHOLE


@settings(deadline=None)
@given(JSON)
def test_strict_json_agrees_with_json(value: Any) -> None:
    assert strict_json(json.dumps(value).encode(), "it") == value


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:0123456789eE.-+ntfaulsre\\ u', max_size=200).map(str.encode))
def test_any_bytes_give_a_value_or_our_error(data: bytes) -> None:
    try:
        value = strict_json(data, "it")
    except HubError:
        return
    assert json.loads(data) == value


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(WHOLE)), JSON)
def test_any_value_of_any_key_is_read_or_our_error(directory: Path, key: str, value: Any) -> None:
    with suppress(HubError):
        assert read_config(write(directory, {**WHOLE, key: value}))[key] == value


def test_no_directory_no_config_and_a_subfolder_that_has_it(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="there is no directory"):
        read_config(tmp_path / "none")
    with pytest.raises(HubError, match=r"holds no config\.json"):
        read_config(tmp_path)
    (tmp_path / "ema").mkdir()
    write(tmp_path / "ema", WHOLE)
    with pytest.raises(HubError, match="Did you mean the subfolder 'ema'"):
        read_config(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.PTH", "last.ckpt", "a.pkl"])
def test_a_directory_with_nothing_but_pickles_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(HubError, match="gencore loads safetensors only"):
        read_config(tmp_path)
    write(tmp_path, WHOLE)
    with pytest.raises(HubError, match="gencore never unpickles"):
        read_config(tmp_path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"lacks model.safetensors\. Copy or download"):
        read_config(write(tmp_path, WHOLE))


def test_links_that_leave_the_directory_are_not_followed(tmp_path: Path) -> None:
    model, outside = tmp_path / "model", tmp_path / "outside.json"
    model.mkdir()
    write(tmp_path, WHOLE).joinpath("config.json").rename(outside)
    (model / "model.safetensors").write_bytes(b"")
    (model / "config.json").symlink_to(outside)
    with pytest.raises(HubError, match=r"is a link to .* and is not followed"):
        read_config(model)
    (model / "config.json").unlink()
    outside.rename(model / "real.json")
    (model / "config.json").symlink_to("real.json")
    assert read_config(model) == WHOLE


def test_loops_pipes_and_directories_in_its_place_do_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.symlink_to("config.json")
    with pytest.raises(HubError):
        read_config(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(HubError):
        read_config(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(HubError):
        read_config(tmp_path)


def test_links_of_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--org--name"
    snapshot = repo / "snapshots" / ("a" * 40)
    shared = tmp_path / "hub" / "blobs" / "ab"
    for folder in (snapshot, repo / "blobs", shared):
        folder.mkdir(parents=True)
    write(repo / "blobs", WHOLE).joinpath("config.json").rename(repo / "blobs" / "1")
    (shared / "2").write_bytes(b"")
    (repo / "blobs" / "2").symlink_to("../../blobs/ab/2")  # as the client does for files that repositories share
    (snapshot / "config.json").symlink_to("../../blobs/1")
    (snapshot / "model.safetensors").symlink_to("../../blobs/2")
    assert read_config(snapshot) == WHOLE
    open_inside(snapshot, "model.safetensors").close()
