"""Series of diagrams, in which a stroke moves, turns or multiplies: draw the next panel, or pick it from four.

A series runs at speed 1 or 2, forwards or backwards, modulo `size`: its last panel alone cannot tell the next.

key       shape, dtype
x         (N, 1, size, size) float32 in {-1, 1}, the next panel
x_input   (N, panels - 1, size, size) float32 in {-1, 1}, the panels before it, in their order
options   (N, 4, size, size) float32 in {-1, 1}, in random order, all different: the next panel, the last one repeated,
          the one before that, and one step too far
answer    (N,) int64, which option is the next panel
label     (N,) int64, an index into RULES
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from gencore.conditions import ClassLabel, Image
from gencore.data.toys import draws
from gencore.data.toys.rendered import Rendered, check_size, first_indices

RULES = ("move", "turn", "count")
LEAST_SIZE, LEAST_PANELS = 8, 4

# First columns of the draws.
_RULE, _START, _LINE, _SPEED, _DIRECTION, _ORDER = range(6)


def moving(at: Tensor, line: Tensor, size: int) -> Tensor:
    """Panels (N, L, size, size): a level stroke of 3 cells on row `line` (N,), from column `at` (N, L), wrapping."""
    cell = torch.arange(size)
    across = (cell - at[..., None]) % size < 3
    down = cell == line[:, None]
    return (rearrange(across, "n l x -> n l 1 x") & rearrange(down, "n y -> n 1 y 1")).float()


def turning(at: Tensor, size: int) -> Tensor:
    """Panels (N, L, size, size): a hand from the middle, in direction `at` (N, L) of `size`, clockwise from right."""
    angle = at[..., None] * (2 * math.pi / size)
    along, middle = torch.linspace(0.5, size / 2 - 0.5, size), size / 2 - 0.5
    y, x = ((middle + along * part).round().long().clamp(0, size - 1) for part in (angle.sin(), angle.cos()))
    return torch.zeros(*at.shape, size**2).scatter_(2, y * size + x, 1.0).unflatten(2, (size, size))


def counting(count: Tensor, line: Tensor, size: int) -> Tensor:
    """Panels (N, L, size, size) of `count` + 1 (N, L) upright strokes side by side, on rows `line` and `line` + 1."""
    cell = torch.arange(size)
    across, row = cell <= count[..., None], cell - line[:, None]
    down = (row == 0) | (row == 1)
    return (rearrange(across, "n l x -> n l 1 x") & rearrange(down, "n y -> n 1 y 1")).float()


def series(index: Tensor, *, panels: int = 5, size: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Panels (N, panels + 1, size, size) in {0, 1}, the last one step too far, and the rules (N,) int64."""
    rule, start = (draws.integers(seed, index, c, n) for c, n in ((_RULE, len(RULES)), (_START, size)))
    line = 1 + draws.integers(seed, index, _LINE, size - 2)
    speed = 1 + draws.integers(seed, index, _SPEED, 2)
    velocity = speed * (1 - 2 * draws.integers(seed, index, _DIRECTION, 2))
    at = (start[:, None] + velocity[:, None] * torch.arange(panels + 1)) % size
    drawn = torch.stack([moving(at, line, size), turning(at, size), counting(at, line, size)], dim=1)
    return drawn[torch.arange(len(index)), rule], rule


def diagrams(
    num_examples: int = 5000, *, panels: int = 5, size: int = 8, seed: int = 0, split: str = "train"
) -> Rendered:
    """Series of `panels` (at least 4, the next one counted) of `size` (at least 8) cells a side.

    Raises GencoreError for bad values.
    """
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    check_size(panels, LEAST_PANELS, "panels")
    check_size(size, LEAST_SIZE)
    drawn, rule = series(index, panels=panels, size=size, seed=seed)
    pictures = drawn * 2 - 1
    order = draws.uniforms(seed, index, _ORDER, 4).argsort(1)
    choices = torch.tensor([panels - 1, panels - 2, panels - 3, panels])[order]
    rows = torch.arange(len(index))
    return Rendered(
        x=pictures[:, panels - 1 : panels],
        further={
            "x_input": pictures[:, : panels - 1],
            "options": pictures[rows[:, None], choices],
            "answer": (order == 0).long().argmax(1),
            "label": rule,
        },
        num_classes=len(RULES),
        conditions=(Image(shape=(panels - 1, size, size)), ClassLabel(count=len(RULES), names=RULES)),
        name=f"diagrams, {panels} panels ({split})",
    )
