"""What the recipes of all three systems refuse."""

from __future__ import annotations

import pytest

import gencore
from gencore.errors import GencoreError


@pytest.mark.parametrize("name", ["ddpm", "ncsn", "edm"])
def test_recipes_refuse(name: str) -> None:
    with pytest.raises(GencoreError, match=r"label_drop is 0\.0"):
        gencore.recipe(name, num_classes=10, label_drop=0.0)
    made = gencore.recipe(name, data_shape=(1, 9, 9))
    with pytest.raises(GencoreError, match=r"data_shape is \(1, 9, 9\)"):
        made.model(made.config)
    with pytest.raises(GencoreError, match="network is 'vit'"):
        gencore.recipe(name, network="vit")
