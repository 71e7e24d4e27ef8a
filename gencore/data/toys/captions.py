"""Captioned pictures of one coloured shape: 4 colours x 3 shapes x 2 sizes x 4 corners, on grey of random level.

"a small red circle, top left". HELD_OUT is 12 of the 96 combinations, three of each colour and four of each shape, so
that every value of every factor is SEEN in training.

key            shape, dtype
x              (N, 3, 16, 16) float32 in [-1, 1]
tokens         (N, 6) int64, the caption, in the words of WORDS; token 0 would be padding
tokens_wrong   (N, 6) int64, the caption of another combination, never the same one
words          (N, 13) float32 in {0, 1}, which words of VOCABULARY the caption has
factors        (N, 4) int64: colour, shape, size, corner, each an index into FACTORS[name]
box            (N, 4) float32: x0, y0, x1, y1 of the shape in pixels, in [0, 16], y down; the middle of the pixel in
               row r and column c is (c + 0.5, r + 0.5)

The mass of a triangle lies 0.9 pixels from the middle of its box: judge a drawn box by its extent, not by its mass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import product
from typing import Final, Literal

import torch
from einops import rearrange
from torch import Tensor

from gencore.conditions import Tokens
from gencore.data.toys import draws
from gencore.data.toys.rendered import Rendered, first_indices
from gencore.errors import GencoreError

SIZE = 16
FACTORS: Final[Mapping[str, tuple[str, ...]]] = {
    "colour": ("red", "green", "blue", "yellow"),
    "shape": ("circle", "square", "triangle"),
    "size": ("small", "large"),
    "corner": ("top left", "top right", "bottom left", "bottom right"),
}
COUNTS = torch.tensor([len(values) for values in FACTORS.values()])
RGB = torch.tensor([[0.9, -0.8, -0.8], [-0.8, 0.8, -0.8], [-0.8, -0.6, 0.9], [0.9, 0.8, -0.8]])
HALF_SIDES = torch.tensor([2.0, 3.5])
ALL = torch.tensor(list(product(*(range(len(values)) for values in FACTORS.values()))))
_HELD = (ALL * torch.tensor([1, 2, 4, 1])).sum(1) % 8 == 3
SEEN, HELD_OUT = ALL[~_HELD], ALL[_HELD]
VOCABULARY = tuple(dict.fromkeys(word for values in FACTORS.values() for value in values for word in value.split()))
WORDS = ("a", *VOCABULARY)
LENGTH = 6

Combinations = Literal["seen", "held out", "all"]
_AMONG = {"seen": SEEN, "held out": HELD_OUT, "all": ALL}

# First columns of the draws.
_COMBINATION, _CENTRE, _HALF, _GROUND, _COLOUR, _OTHER, _NEAR, _NOISE = 0, 1, 3, 4, 5, 8, 9, 100


def draw_factors(index: Tensor, *, seed: int = 0, among: Tensor = SEEN) -> Tensor:
    """The factors of pictures `index`: (N, 4) int64, uniform among combinations (K, 4)."""
    return among[draws.integers(seed, index, _COMBINATION, len(among))]


def other_factors(factors: Tensor, index: Tensor, *, seed: int = 0, among: Tensor = SEEN) -> Tensor:
    """For each row a different combination, uniform among the others of `among`: (N, 4) int64."""
    same = (factors[:, None] == among).all(2).int()
    inside, place = same.any(1), same.argmax(1)
    u = draws.uniform(seed, index, _OTHER)
    step = 1 + (u * (len(among) - 1)).long()
    anywhere = (u * len(among)).long()
    return among[torch.where(inside, (place + step) % len(among), anywhere)]


def near_factors(factors: Tensor, index: Tensor, *, seed: int = 0) -> Tensor:
    """Each row with one factor changed, which may give a combination held out: (N, 4) int64."""
    which = draws.integers(seed, index, _NEAR, len(FACTORS))
    step = 1 + (draws.uniform(seed, index, _NEAR + 1) * (COUNTS[which] - 1)).long()
    return (factors + step[:, None] * torch.eye(len(FACTORS), dtype=torch.int64)[which]) % COUNTS


def corner_boxes(factors: Tensor, index: Tensor, *, seed: int = 0) -> Tensor:
    """Boxes (N, 4) in their corner, of one of two sizes, at most one pixel off the middle of the quarter."""
    half = HALF_SIDES[factors[:, 2], None]
    quarter = torch.stack([factors[:, 3] % 2, factors[:, 3] // 2], dim=1) * (SIZE / 2) + SIZE / 4
    aside = draws.uniforms(seed, index, _CENTRE, 2) * 2 - 1
    centre = quarter + aside * (SIZE / 4 - half).clamp(max=1)
    return torch.cat([centre - half, centre + half], dim=1)


def free_boxes(index: Tensor, *, seed: int = 0) -> Tensor:
    """Boxes (N, 4) anywhere in the picture, half their side uniform in [2, 4)."""
    half = 2 + 2 * draws.uniforms(seed, index, _HALF, 1)
    centre = half + draws.uniforms(seed, index, _CENTRE, 2) * (SIZE - 2 * half)
    return torch.cat([centre - half, centre + half], dim=1)


def true_of_box(factors: Tensor, box: Tensor) -> Tensor:
    """The factors, (N, 4), with the size and corner that the box has, so that the caption is true."""
    centre, half = (box[:, :2] + box[:, 2:]) / 2, (box[:, 2] - box[:, 0]) / 2
    right, low = (centre > SIZE / 2).long().unbind(1)
    return torch.stack([factors[:, 0], factors[:, 1], (half > HALF_SIDES.mean()).long(), right + 2 * low], dim=1)


def coverage(shape: Tensor, box: Tensor) -> Tensor:
    """How far each pixel is covered, (N, 16, 16) in [0, 1], by shapes (N,) int64 in square boxes (N, 4).

    1/2 minus the signed distance in pixels, clipped; the shapes in a box of [-1, 1]: a circle of radius 1, a square of
    half side 0.9, a triangle with its apex at the top.
    """
    centre, half = (box[:, :2] + box[:, 2:]) / 2, rearrange((box[:, 2] - box[:, 0]) / 2, "n -> n 1 1")
    middles = torch.arange(SIZE) + 0.5
    x = (middles - rearrange(centre[:, 0], "n -> n 1 1")) / half
    y = (rearrange(middles, "h -> h 1") - rearrange(centre[:, 1], "n -> n 1 1")) / half
    circle = (x**2 + y**2).sqrt() - 1
    square = torch.maximum(x.abs(), y.abs()) - 0.9
    triangle = torch.maximum((2 * x.abs() - y - 1) / 5**0.5, y - 0.95)
    outside = torch.stack([circle, square, triangle], dim=1)[torch.arange(len(shape)), shape] * half
    return (0.5 - outside).clamp(0, 1)


def paint(factors: Tensor, box: Tensor, index: Tensor, *, seed: int = 0) -> Tensor:
    """Pictures (N, 3, 16, 16) in [-1, 1]: colour and shape of `factors` in square boxes (N, 4).

    The grey, the shade of the colour and a little noise are those of pictures `index` of `seed`.
    """
    covered = coverage(factors[:, 1], box).unsqueeze(1)
    ground = rearrange(draws.uniform(seed, index, _GROUND) * 0.8 - 0.4, "n -> n 1 1 1")
    colour = RGB[factors[:, 0]] + 0.1 * draws.normals(seed, index, _COLOUR, 3)
    noise = rearrange(draws.normals(seed, index, _NOISE, 3 * SIZE**2), "n (c h w) -> n c h w", c=3, h=SIZE)
    picture = torch.lerp(ground, rearrange(colour, "n c -> n c 1 1"), covered)
    return (picture + 0.03 * noise).clamp(-1, 1)


def sentences(factors: Tensor) -> list[str]:
    """The captions of factors (N, 4), such as "a small red circle, top left"."""
    rows = [[values[i] for values, i in zip(FACTORS.values(), row, strict=True)] for row in factors.tolist()]
    return [f"a {size} {colour} {shape}, {corner}" for colour, shape, size, corner in rows]


def condition() -> Tokens:
    """What the captions are for a model: at most 6 of the 14 words."""
    return Tokens(length=LENGTH, words=WORDS)


def tokens(factors: Tensor) -> Tensor:
    """The captions of factors (N, 4): (N, 6) int64. The words of each factor are looked up, not parsed one by one."""
    every = torch.stack([condition().parse(sentence) for sentence in sentences(ALL)])
    return every[_number(factors)]


def multi_hot(words: Tensor) -> Tensor:
    """Which words of VOCABULARY are in tokens (N, length): (N, 13) float32 in {0, 1}."""
    wanted = torch.arange(2, len(WORDS) + 1)
    return (words[..., None] == wanted).any(1).float()


def _number(factors: Tensor) -> Tensor:
    """The row of ALL that each row of factors is."""
    places = torch.tensor([int(COUNTS[i + 1 :].prod()) for i in range(len(COUNTS))])
    return (factors * places).sum(1)


def captions(
    num_examples: int = 6000,
    *,
    seed: int = 0,
    split: str = "train",
    combinations: Combinations = "seen",
    free: bool = False,
) -> Rendered:
    """Pictures with captions of combinations that are "seen", "held out", or "all".

    `free` puts the shape anywhere, in boxes of any size, and lets the caption follow (which may then be one that is
    held out). Raises GencoreError for bad values.
    """
    if combinations not in _AMONG:
        raise GencoreError(f"combinations is {combinations!r}; expected one of {', '.join(map(repr, _AMONG))}.")
    index, seed, among = first_indices(num_examples), draws.split_seed(seed, split), _AMONG[combinations]
    factors = draw_factors(index, seed=seed, among=among)
    box = free_boxes(index, seed=seed) if free else corner_boxes(factors, index, seed=seed)
    factors = true_of_box(factors, box) if free else factors
    right = tokens(factors)
    return Rendered(
        x=paint(factors, box, index, seed=seed),
        further={
            "tokens": right,
            "tokens_wrong": tokens(other_factors(factors, index, seed=seed, among=among)),
            "words": multi_hot(right),
            "factors": factors,
            "box": box,
        },
        conditions=(condition(),),
        name=f"captioned shapes, {combinations} ({split})",
    )


def boxed(num_examples: int = 6000, *, seed: int = 0, split: str = "train") -> Rendered:
    """Pictures with a shape anywhere, in boxes of any size; the caption says what it is, "a red circle", and `box`
    where. Raises GencoreError for bad values."""
    source = captions(num_examples, seed=seed, split=split, combinations="all", free=True)
    kinds = source.further["factors"][:, :2]
    said = [[values[i] for values, i in zip(FACTORS.values(), row, strict=False)] for row in kinds.tolist()]
    right = condition().check([f"a {colour} {shape}" for colour, shape in said], len(kinds))
    further = {"tokens": right, "words": multi_hot(right), "factors": kinds, "box": source.further["box"]}
    return dataclasses.replace(source, further=further, name=f"boxed shapes ({split})")
