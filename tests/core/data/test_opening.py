from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from gencore.data import gaussian, open_source
from gencore.errors import GencoreError


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
        {"revision": "v1"},
    )
    assert open_source("mnist:hf://datasets/a/b") == (("a/b", "train", None), {"revision": None})


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
        ("zzz", {}, "no data 'zzz'.*Known: digits"),
        ("", {}, "no data ''"),
        ("~nobody-of-that-name/x", {}, "no data '~nobody"),
        ("x" * 300, {}, "no data 'xxx"),
        ("no/such/folder", {}, "no data 'no/such/folder'"),
        ("no.npy", {}, "no.npy does not exist"),
        ("notes.txt", {}, "file of no known kind"),
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
    (here / "notes.txt").write_text("x")
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
    with contextlib.suppress(GencoreError):
        assert len(open_source(spec)) > 0
        assert spec.startswith(("digits", "ring", "gaussian"))


@settings(max_examples=50, deadline=None)
@given(mean=st.floats(-1e6, 1e6), std=st.floats(0, 1e6))
def test_gaussians_are_parsed(mean: float, std: float) -> None:
    opened = open_source(f"gaussian:{mean},{std}").fetch(torch.arange(5))["x"]
    assert torch.equal(opened, gaussian(mean, std).fetch(torch.arange(5))["x"])
