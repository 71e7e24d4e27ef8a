"""Outdoor scenes with a known layout and weather.

A horizon, and a hut with a pitched roof that stands a little below it; each scene has its own tints and texture. Layout
and weather are independent of each other, and `paint` of the same indices with other weather is the truth of an edit:
the same place, with, say, snow.

key          shape, dtype
x            (N, 3, 16, 16) float32 in [-1, 1], the picture
x_input      (N, 3, 16, 16) float32 in {0, 1}, the layout: one-hot over CLASSES
attributes   (N, 3) float32 in {0, 1}: ATTRIBUTES, each with probability 1/2
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from gencore.conditions import Attributes, Image
from gencore.data.toys import draws
from gencore.data.toys.rendered import Rendered, first_indices

SIZE = 16
CLASSES = ("sky", "ground", "hut")
ATTRIBUTES = ("night", "fog", "snow")
DAY_RGB = ((0.45, 0.65, 0.95), (0.25, 0.55, 0.2), (0.6, 0.3, 0.2))
SNOW_RGB = ((0.75, 0.78, 0.85), (0.95, 0.95, 1.0), (0.7, 0.45, 0.4))
NIGHT_RGB = (0.3, 0.32, 0.45)
TEXTURE = (0.01, 0.05, 0.03)
TINT = 0.06
FLAKES = 0.06

# First columns of the draws.
_PLACE, _WEATHER, _TINT, _TEXTURE, _FLAKES = 0, 5, 8, 100, 400


def layouts(index: Tensor, *, seed: int = 0) -> Tensor:
    """The layouts of scenes `index`, (N,) int64: (N, 3, 16, 16) float32, one-hot over CLASSES.

    The horizon is at row 6 to 10; the hut is 4 to 7 wide, its walls 3 to 5 high, its foot 1 to 3 rows below that.
    """
    places = rearrange(draws.uniforms(seed, index, _PLACE, 5), "n k -> k n 1 1")
    horizon, foot, width, height, left = places
    horizon, height = (6 + 5 * horizon).floor(), (3 + 3 * height).floor()
    foot, width = horizon + 1 + (3 * foot).floor(), 4 + (4 * width).floor()
    left = ((SIZE - width + 1) * left).floor()
    row, column = torch.arange(SIZE)[:, None], torch.arange(SIZE)
    from_edge = torch.minimum(column - left, left + width - 1 - column)  # 0 at both walls, below 0 outside
    hut = (from_edge >= 0) & (row <= foot) & (row > foot - height - from_edge.clamp(max=2))
    ground = (row >= horizon) & ~hut
    return torch.stack([~ground & ~hut, ground, hut], dim=1).float()


def weather(index: Tensor, *, seed: int = 0) -> Tensor:
    """The attributes of scenes `index`: (N, 3) float32, 0 or 1."""
    return (draws.uniforms(seed, index, _WEATHER, len(ATTRIBUTES)) < 0.5).float()


def paint(layout: Tensor, attributes: Tensor, index: Tensor, *, seed: int = 0) -> Tensor:
    """Pictures (N, 3, 16, 16) in [-1, 1] of layouts (N, 3, 16, 16) under attributes (N, 3) in [0, 1].

    Tint, texture and flakes are those of scenes `index` of `seed` (a source of split "test" has the seed
    `draws.split_seed(seed, "test")`). Fog is thinner near the ground, and night is laid over everything.
    """
    night, fog, snow = rearrange(attributes, "n k -> k n 1 1 1")
    tint = TINT * rearrange(draws.normals(seed, index, _TINT, 9), "n (k c) -> n k c", k=len(CLASSES))
    by_day = torch.einsum("nkhw,nkc->nchw", layout, torch.tensor(DAY_RGB) + tint)
    under_snow = torch.einsum("nkhw,nkc->nchw", layout, torch.tensor(SNOW_RGB) + tint / 3)
    roughness = torch.einsum("nkhw,k->nhw", layout, torch.tensor(TEXTURE)).unsqueeze(1)
    grain = _by_pixel(draws.normals(seed, index, _TEXTURE, SIZE**2))
    picture = torch.lerp(by_day, under_snow, snow) + roughness * grain
    flakes = (_by_pixel(draws.uniforms(seed, index, _FLAKES, SIZE**2)) < FLAKES).float() * snow
    picture = picture * (1 - flakes) + flakes
    thickness = rearrange(0.65 - 0.2 * torch.arange(SIZE) / SIZE, "h -> h 1") * fog
    picture = picture * (1 - thickness) + 0.8 * thickness
    dark = rearrange(torch.tensor(NIGHT_RGB), "c -> c 1 1")
    return (picture * (1 - night + night * dark)).clamp(0, 1) * 2 - 1


def _by_pixel(rows: Tensor) -> Tensor:
    return rearrange(rows, "n (h w) -> n 1 h w", h=SIZE)


def scenes(num_examples: int = 6000, *, seed: int = 0, split: str = "train") -> Rendered:
    """Scenes with layouts as x_input and weather as attributes. Raises GencoreError for bad values."""
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    layout, attributes = layouts(index, seed=seed), weather(index, seed=seed)
    return Rendered(
        x=paint(layout, attributes, index, seed=seed),
        further={"x_input": layout, "attributes": attributes},
        conditions=(Image(shape=(len(CLASSES), SIZE, SIZE)), Attributes(names=ATTRIBUTES)),
        name=f"scenes ({split})",
    )
