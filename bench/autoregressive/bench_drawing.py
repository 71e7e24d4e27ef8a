"""Drawing with caches against the naive loop, which runs the network over the whole example for every number.

Both draw the same numbers (seeded); each case first checks that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore_autoregressive.parts.ancestral import AncestralSampler

TESTS = "tests/plugins/autoregressive/test_densities.py"
PICTURES = {"data_shape": (1, 16, 16), "levels": 16, "width": 32}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "pixelcnn": ({**PICTURES, "layers": 5}, "4 pictures of 16 x 16, 5 layers of 32"),
    "pixelrnn-row-lstm": ({**PICTURES, "layers": 3}, "4 pictures of 16 x 16, 3 layers of 32"),
    "pixelrnn-diagonal-bilstm": ({**PICTURES, "layers": 3}, "4 pictures of 16 x 16, 3 layers of 32"),
    "gated-pixelcnn": ({**PICTURES, "layers": 5}, "4 pictures of 16 x 16, 5 layers of 32"),
    "pixelcnn-plus-plus": ({**PICTURES, "width": 24, "downsamplings": 2}, "4 pictures of 16 x 16, 3 levels of 24"),
    "wavenet": ({"data_shape": (1, 256), "levels": 64}, "4 clips of 256, 14 layers of 32"),
}


@pytest.mark.parametrize("system", CASES)
def test_drawing(race: Any, system: str) -> None:
    """`gencore` keeps what each layer has computed; "naive" does not."""
    arguments, case = CASES[system]
    torch.manual_seed(0)
    recipe = gencore.recipe(system, **arguments)
    model = recipe.model(recipe.config).eval()

    def drawing(*, cached: bool) -> Callable[[], Tensor]:
        sampler = AncestralSampler(cached=cached)
        return lambda: model.sample(4, seed=1, sampler=sampler)

    expected = drawing(cached=False)()
    race(
        f"drawing, {system}",
        case,
        {"gencore": drawing(cached=True), "naive": drawing(cached=False)},
        error=lambda drawn: (drawn != expected).float().mean(),
        error_unit="share of other numbers",
        tests=TESTS,
    )
