"""What some systems do, drawn: of untrained models, rows of pictures of the data's shape, lines, or a drawing."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from PIL import Image

import gencore
from gencore.data import open_source
from gencore.registry import list_systems
from gencore.training.run import RunSettings, make_recipe
from tools.zoo_own import OWN


@pytest.mark.parametrize("system", OWN)
def test_each_is_drawn(system: str) -> None:
    source: Any = open_source(gencore.recipe(system).data)
    recipe = make_recipe(RunSettings(system=system), source)
    torch.manual_seed(0)
    model = recipe.model(recipe.config).eval()
    stage = recipe.stages[0]
    source = stage.data(source, model) if stage.data else source
    with torch.no_grad():
        said, seen = OWN[system](model, source)
    assert said
    if isinstance(seen, list):
        assert [line.count("->") for line in seen] == [1] * 8
        return
    if isinstance(seen, Image.Image):
        colours = {colour for count, colour in seen.getcolors(seen.width * seen.height) or () if count > 100}
        assert len(colours) == 3  # both kinds of dots, and white
        return
    assert seen.shape[1:] == source.shape
    assert len(seen) % 8 == 0
    rows = seen.unflatten(0, (-1, 8))
    assert all((first != second).any() for first, second in itertools.pairwise(rows))


def test_only_systems_have_pictures_of_their_own() -> None:
    assert set(OWN) <= {spec.name for spec in list_systems()}
