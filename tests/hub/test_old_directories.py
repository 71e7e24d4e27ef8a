"""Model directories written by the commit 51656aa (contract 1, flat configs), one of a family, still give the same.

Each holds `expected.safetensors`: `x`, and of the model then `sample` (2, seed 0), `code` (the posterior's mean) and
`rebuilt`, as far as it had them. Its weights are those of the conformance suite's tiny model under seed 0.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import gencore

DIRECTORIES = sorted((Path(__file__).parent / "written_by_0_1").iterdir())
NOW_OTHERWISE = {("unit", "sample")}
"""Without a condition a conditional model now draws one, where it took class 0."""


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda directory: directory.name)
def test_the_same_numbers(directory: Path) -> None:
    expected = load_file(directory / "expected.safetensors")
    model = gencore.from_pretrained(directory)
    asked = {
        "sample": lambda x: model.sample(2, seed=0),
        "code": lambda x: model.encode(x).mean,
        "rebuilt": lambda x: model.reconstruct(x),
    }
    compared = [name for name in asked if name in expected and (directory.name, name) not in NOW_OTHERWISE]
    assert compared
    for name in compared:
        torch.testing.assert_close(asked[name](expected["x"]), expected[name], rtol=1e-4, atol=1e-4)
