"""Loading half a gigabyte: from_pretrained beside safetensors alone.

`load_file` only maps the file; its tensors are read when they are first used, and share the file's pages.
from_pretrained gives a model with weights in memory of its own, so the peer that does the same work is `load_file` and
a copy. The bars: at most 1.15 times that peer's time, and at most 1.2 times the weights' memory. Shown beside them
without a bar: mapping alone, mapping and reading once, and a first load that must hash the file because nobody has
(gencore_hub/verified.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import gencore
import gencore_hub
from gencore.pretrained import describe
from gencore_hub.verified import ATTRIBUTE

MAX_RATIO, MAX_MEMORY = 1.15, 1.2
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def model() -> gencore.Model:
    return gencore.create("gan", hidden=[5600, 5600, 5600])


@pytest.mark.parametrize(("case", "shard"), [("1 file", "5GB"), ("shards", "200MB")])
def test_loading(case: str, shard: str, model: gencore.Model, race: Callable[..., Any], tmp_path: Path) -> None:
    state = model.state_dict()
    size = sum(tensor.nbytes for tensor in state.values())
    folder = gencore_hub.write_directory(
        tmp_path / "model", config=describe(model), module=model, card="", max_shard_size=shard
    )
    files = sorted(folder.glob("*.safetensors"))
    notes = {file: os.getxattr(file, ATTRIBUTE) for file in files if ATTRIBUTE in os.listxattr(file)}
    assert max(files, key=lambda file: file.stat().st_size) in notes, "this file system keeps no notes of hashes"

    def mapped() -> Tensors:
        return {name: tensor for file in files for name, tensor in load_file(file).items()}

    def read() -> Tensors:
        tensors = mapped()
        for tensor in tensors.values():
            tensor.sum()
        return tensors

    def copied() -> Tensors:
        return {name: tensor.clone() for name, tensor in mapped().items()}

    def ours() -> Tensors:
        return gencore.from_pretrained(folder).state_dict()

    def first() -> Tensors:
        for file in notes:
            os.removexattr(file, ATTRIBUTE)
        loaded = ours()
        for file, text in notes.items():
            os.setxattr(file, ATTRIBUTE, text)
        return loaded

    def error(loaded: Tensors) -> float:
        assert loaded.keys() == state.keys()
        return max((loaded[name] - tensor).abs().max().item() for name, tensor in state.items())

    row = race(
        "loading",
        f"{size / 1e6:.0f} MB, {case}",
        {
            "from_pretrained": ours,
            "load_file and a copy": copied,
            "load_file, each tensor read once": read,
            "load_file (maps only)": mapped,
            "from_pretrained, not hashed before": first,
        },
        error=error,
        error_unit="max abs",
        tests="tests/hub/test_weights.py",
    )
    peer = row["contestants"][1]
    assert peer["error"] == row["contestants"][0]["error"] == 0
    assert 1 / peer["ratio"] <= MAX_RATIO
    assert row["contestants"][0]["peak_bytes"] <= MAX_MEMORY * size
