from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from gencore.data import check_batch, gaussian, open_source
from gencore.data.names import BUILT_IN, list_data, plain_names
from gencore.data.source import conditions_of
from gencore.errors import GencoreError, PluginError
from gencore.registry import Plugin, Registry
from gencore.spec import DataName, Family


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_names(here: Path) -> None:
    assert len(open_source("digits")) == 1400
    assert open_source("digits", split="test", image_size=16, channels=1).shape == (1, 16, 16)
    assert open_source("ring").shape == (2,)
    assert open_source("gaussian").shape == (1,)
    assert torch.equal(open_source("gaussian").fetch(torch.arange(9))["x"], gaussian().fetch(torch.arange(9))["x"])
    shifted = open_source("gaussian:3,0.1").fetch(torch.arange(1000))["x"]
    assert abs(shifted.mean() - 3) < 0.02
    assert not torch.equal(
        open_source("ring").fetch(torch.arange(9))["x"], open_source("ring", split="test").fetch(torch.arange(9))["x"]
    )


def test_mnist_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*arguments: object, **options: object) -> tuple[object, ...]:
        return arguments, options

    monkeypatch.setattr("gencore.data.sources.mnist.mnist_from_hub", opened)
    assert open_source("mnist:hf://datasets/a/b@v1", split="test", image_size=14) == (
        ("a/b", "test", 14),
        {"revision": "v1", "data_range": None},
    )
    assert open_source("mnist:hf://datasets/a/b") == (
        ("a/b", "train", None),
        {"revision": None, "data_range": None},
    )


def test_paths(here: Path) -> None:
    np.save("vectors.npy", np.ones((4, 3), np.float32))
    np.savez("labelled.npz", x=np.zeros((4, 8, 8), np.uint8), label=np.arange(4))
    (here / "pictures").mkdir()
    Image.new("RGB", (9, 7)).save(here / "pictures" / "a.png")
    assert open_source("vectors.npy").shape == (3,)
    assert open_source("labelled.npz", image_size=4).shape == (1, 4, 4)
    assert open_source("pictures", image_size=4).shape == (3, 4, 4)
    assert open_source(str(here / "pictures"), image_size=4, channels=1, skip_corrupt=True).shape == (1, 4, 4)


def test_a_name_wins_over_a_folder_which_a_path_reaches(here: Path) -> None:
    (here / "digits").mkdir()
    Image.new("L", (5, 5)).save(here / "digits" / "a.png")
    assert len(open_source("digits")) == 1400
    assert len(open_source("./digits")) == 1


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("digit", {}, "no data 'digit'.*Did you mean 'digits'.*Understood: digits, ring"),
        ("zzz", {}, "no data 'zzz'.*Known: .*captions, cipher, diagrams, digits"),
        ("", {}, "no data ''"),
        ("~nobody-of-that-name/x", {}, "no data '~nobody"),
        ("x" * 300, {}, "no data 'xxx"),
        ("no/such/folder", {}, "no data 'no/such/folder'"),
        ("no.npy", {}, "no.npy does not exist"),
        ("notes.md", {}, "file of unknown type"),
        ("mnist", {}, "mnist:DIRECTORY"),
        ("mnist:", {}, "mnist:DIRECTORY"),
        ("mnist:nowhere", {}, "nowhere is no folder"),
        ("mnist:hf://models/a/b", {}, "is no Hub data set"),
        ("mnist:hf://datasets/a", {}, "is no Hub data set"),
        ("digits:8", {}, "takes nothing after a colon"),
        ("gaussian:1", {}, "expected gaussian:MEAN,STD"),
        ("gaussian:1,2,3", {}, "expected gaussian:MEAN,STD"),
        ("gaussian:a,b", {}, "expected gaussian:MEAN,STD"),
        ("gaussian:0,-1", {}, "std is -1"),
        ("ring", {"image_size": 8}, "ring has no images"),
        ("ring", {"channels": 1}, r"shape \(2,\); expected images with 1 channels"),
        ("digits", {"channels": 3}, r"shape \(1, 8, 8\); expected images with 3 channels"),
        ("digits", {"skip_corrupt": True}, "skip_corrupt is for folders"),
        ("digits", {"split": "dev"}, "split is 'dev'"),
        (".", {}, "holds no images"),
        (".", {"channels": 2}, "channels is 2"),
    ],
)
def test_what_is_not_understood(here: Path, spec: str, options: dict[str, object], message: str) -> None:
    (here / "notes.md").write_text("x")
    with pytest.raises(GencoreError, match=message):
        open_source(spec, **options)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(
    spec=st.one_of(
        st.text(max_size=12),
        st.sampled_from(["gaussian:", "mnist:", "ring:"]).flatmap(
            lambda name: st.text(max_size=12).map(lambda rest: name + rest)
        ),
    )
)
def test_any_text_is_opened_or_refused(spec: str) -> None:
    assume(not os.path.isdir(os.path.expanduser(spec)))
    assume(spec not in plain_names())
    with contextlib.suppress(GencoreError):
        assert len(open_source(spec)) > 0
        assert spec.startswith("gaussian:")


@settings(max_examples=50, deadline=None)
@given(mean=st.floats(-1e6, 1e6), std=st.floats(0, 1e6))
def test_gaussians_are_parsed(mean: float, std: float) -> None:
    opened = open_source(f"gaussian:{mean},{std}").fetch(torch.arange(5))["x"]
    assert torch.equal(opened, gaussian(mean, std).fetch(torch.arange(5))["x"])


@pytest.mark.parametrize("name", [data.name for data in BUILT_IN])
def test_every_built_in_name_opens_as_a_source(name: str) -> None:
    if name == "photos":
        pytest.importorskip("sklearn")
    source = open_source(name)
    check_batch(source.fetch(torch.arange(4)), source.shape)
    assert {condition.key for condition in conditions_of(source)} <= set(source.fetch(torch.arange(1)))
    other = open_source(name, split="test").fetch(torch.arange(4))["x"]
    assert name == "dirac" or not torch.equal(other, source.fetch(torch.arange(4))["x"])


def test_list_data_names_everything_and_needs_no_torch() -> None:
    names = [data.name for data in list_data()]
    assert {"digits", "faces", "paired:DIR", "unpaired:DIR", "hf://datasets/ORG/NAME[@REVISION]"} <= set(names)
    assert all(data.summary and ":" in data.opens for data in list_data())
    script = (
        "import sys; from gencore.data import list_data; assert list_data();"
        "heavy = {'torch', 'numpy', 'PIL'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def registry_with(*data: DataName) -> Registry:
    family = Family(name="strange", summary="a stranger's", systems=(), data=data)
    plugin = Plugin(name="strange", target="x:y", distribution="d", version="1", family=family)
    registry = Registry(list)
    registry.__dict__["plugins"] = (plugin,)
    return registry


def test_a_plugin_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = DataName(name="mine", summary="my data", opens="gencore.data.sources.bundled:digits")
    monkeypatch.setattr("gencore.registry.default_registry", lambda: registry_with(mine))
    assert len(open_source("mine", split="test", image_size=16)) == 397
    assert mine in list_data()
    with pytest.raises(GencoreError, match="Did you mean 'mine'"):
        open_source("minee")
    gone = dataclasses.replace(mine, opens="no.such.module:f")
    monkeypatch.setattr("gencore.registry.default_registry", lambda: registry_with(gone))
    with pytest.raises(PluginError, match="cannot be imported"):
        open_source("mine")
    for taken in ("digits", "paired"):
        claim = dataclasses.replace(mine, name=taken)
        monkeypatch.setattr("gencore.registry.default_registry", lambda claim=claim: registry_with(claim))
        with pytest.raises(PluginError, match=f"'{taken}' is gencore's own"):
            open_source("ring")


def test_two_of_any_kind() -> None:
    source = open_source("digits", second="digits", split="test", image_size=4)
    batch = source.fetch(torch.arange(3))
    check_batch(batch, source)
    assert set(batch) == {"x", "label", "index", "x_b", "label_b", "index_b"}
    assert batch["x_b"].shape == (3, 1, 4, 4)
    with pytest.raises(GencoreError, match="no data 'nothing'"):
        open_source("digits", second="nothing")


def test_labels_are_left_out_on_request() -> None:
    source = open_source("digits", condition="none")
    assert source.num_classes is None
    assert set(source.fetch(torch.arange(2))) == {"x", "index"}
    assert conditions_of(source) == ()


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("digits", {"condition": "text"}, "condition is 'text', but 'digits' has no metadata"),
        ("digits", {"data_range": (0, 16)}, "data_range is for folders"),
        ("gaussian:0,1", {"data_range": (0, 16)}, "data_range is for folders"),
        ("a.npy", {"condition": "text"}, "has no metadata"),
        ("a.npy", {"skip_corrupt": True}, "skip_corrupt is for folders"),
        ("digits", {"data_range": (1, 0)}, r"data_range is \(1, 0\)"),
        ("digits", {"condition": " "}, "condition is empty"),
    ],
)
def test_what_is_given_is_used_or_refused(here: Path, spec: str, options: dict[str, object], message: str) -> None:
    np.save("a.npy", np.full((4, 8, 8), 9, np.uint8))
    with pytest.raises(GencoreError, match=message):
        open_source(spec, **options)  # type: ignore[arg-type]


def test_a_stated_range_reaches_array_files(here: Path) -> None:
    np.save("a.npy", np.arange(16, dtype=np.uint16).reshape(1, 4, 4) * 273)
    x = open_source("a.npy", data_range=(0, 4095)).fetch(torch.arange(1))["x"]
    assert torch.allclose(x.flatten(), torch.linspace(-1, 1, 16))


@pytest.mark.parametrize(
    "word", ["x" * 2**22, "gaussian:" + "1," * 10**5, "mnist:hf://" + "a" * 10**6, "digits:" + "\n" * 99]
)
def test_a_long_word_is_shortened_in_errors(word: str) -> None:
    with pytest.raises(GencoreError) as caught:
        open_source(word)
    assert len(str(caught.value)) < 2000
    assert "\n" not in str(caught.value)
