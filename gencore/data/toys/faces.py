"""Faces with known factors: every one of them can be asked for, changed alone, and judged afterwards.

A face is drawn by soft ellipses and lines on a head that turns: hair, head, wrinkles, eyes, nose, mouth, glasses. It is
differentiable in every factor, and its mirror image is the face of opposite yaw. Factors, `Faces`:

identity     (N, 5) in [-1, 1]   head width, eye gap, mouth width, skin tone, hair tone
yaw          (N,) in [-1, 1]     -1 looks left, 1 looks right, by 40 degrees; the side turned away is in shade
age          (N,) in [0, 1]      lines on forehead and cheeks: faint at 16 pixels, plain at 32
glasses      (N,) in [0, 1]      0 off, 1 on; drawn as 0 or 1
expression   (N, 2) in [-1, 1]   smile (corners of the mouth up), jaw (mouth open)

Keys of a batch of `faces` (x_input too, after `with_landmark_maps` or `frontal_pairs`):

x            (N, C, size, size) float32 in [-1, 1], C = 1 or 3
label        (N,) int64, the person where `people` is given, else glasses: 0 off, 1 on
attributes   (N, count) float32 in [0, 1], those asked for, from "yaw", "age", "glasses", "smile", "jaw"
identity, yaw, age, glasses, expression   as above, float32
person       (N,) int64
landmarks    (N, 6, 2) float32, (x, y) in pixels: left eye, right eye, nose, mouth left, mouth right, chin

Factors are far from equal in pixels. Mean absolute difference between their two ends at 16 x 16, 1 channel, the others
drawn as usual: skin 0.24, head width 0.18, hair 0.11, glasses 0.065, eye gap 0.047 (without glasses 0.019), age 0.012,
mouth width 0.009. So judge identity by head width, skin and hair, IDENTITY_SEEN, where no landmarks go in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from gencore.conditions import Attributes, ClassLabel
from gencore.data.toys import draws
from gencore.data.toys.face_painting import Faces, landmark_maps, landmarks, paint
from gencore.data.toys.rendered import Rendered, check_size, first_indices, with_input
from gencore.errors import GencoreError, suggest

IDENTITY_SEEN = (0, 3, 4)
SPANS: Final[Mapping[str, tuple[float, float]]] = {
    "yaw": (-1.0, 1.0),
    "age": (0.0, 1.0),
    "glasses": (0.0, 1.0),
    "smile": (-1.0, 1.0),
    "jaw": (-1.0, 1.0),
}
LEAST_SIZE = 8

_COLUMN = {"person": 1, "yaw": 2, "age": 3, "glasses": 4, "smile": 5, "jaw": 6, "identity": 101}


def identities(person: Tensor, seed: int = 0) -> Tensor:
    """The identity vectors of persons (N,) int64: (N, 5) float32 in [-1, 1)."""
    return draws.uniforms(seed, person, _COLUMN["identity"], 5) * 2 - 1


def persons(index: Tensor, *, seed: int = 0, people: int | None = None) -> Tensor:
    """Who is on picture `index`, (N,) int64: one of `people`, or a new person on every picture."""
    return index if people is None else draws.integers(seed, index, _COLUMN["person"], people)


def draw_faces(
    index: Tensor,
    *,
    seed: int = 0,
    people: int | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Faces:
    """The factors of pictures `index`, (N,) int64, each uniform in its range; glasses are at one of its two ends.

    With `people` all seeds share the same persons; without, each picture of each seed shows another one. `ranges` are
    those of SPANS unless given. Raises GencoreError: unknown names, ranges beyond SPANS, people below 1.
    """
    if people is not None and people < 1:
        raise GencoreError(f"people is {people}; expected at least 1, or None for a new person on every picture.")
    spans = _checked_ranges(ranges or {})

    def factor(name: str) -> Tensor:
        low, high = spans[name]
        u = draws.uniform(seed, index, _COLUMN[name])
        return low + (high - low) * ((u < 0.5).float() if name == "glasses" else u)

    return Faces(
        identity=identities(persons(index, seed=seed, people=people), seed if people is None else 0),
        yaw=factor("yaw"),
        age=factor("age"),
        glasses=factor("glasses"),
        expression=torch.stack([factor("smile"), factor("jaw")], dim=1),
    )


def attribute_rows(drawn: Faces, names: Sequence[str]) -> Tensor:
    """The factors `names` of SPANS, scaled to [0, 1]: (N, count) float32. Raises GencoreError for unknown names."""
    factors = {"yaw": drawn.yaw, "age": drawn.age, "glasses": drawn.glasses}
    factors |= {"smile": drawn.expression[:, 0], "jaw": drawn.expression[:, 1]}
    for name in names:
        _check_name(name)
    return torch.stack([(factors[n] - SPANS[n][0]) / (SPANS[n][1] - SPANS[n][0]) for n in names], dim=1)


def faces(
    num_examples: int = 6000,
    *,
    size: int = 16,
    channels: int = 1,
    seed: int = 0,
    split: str = "train",
    people: int | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    attributes: Sequence[str] = ("glasses", "age"),
) -> Rendered:
    """Faces of `people` persons, or each of another; see the head of this module for the keys.

    `ranges`, such as {"yaw": (-0.3, 0.3), "glasses": (0, 0)}, narrow factors. Raises GencoreError for bad values.
    """
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    check_size(size, LEAST_SIZE)
    drawn = draw_faces(index, seed=seed, people=people, ranges=ranges)
    person = persons(index, seed=seed, people=people)
    label = drawn.glasses.round().long() if people is None else person
    names = ("glasses off", "glasses on") if people is None else ()
    further = {
        "label": label,
        "attributes": attribute_rows(drawn, attributes),
        **{field.name: getattr(drawn, field.name) for field in dataclasses.fields(drawn)},
        "person": person,
        "landmarks": landmarks(drawn, size),
    }
    return Rendered(
        x=paint(drawn, size=size, channels=channels),
        further=further,
        num_classes=people or 2,
        conditions=(ClassLabel(count=people or 2, names=names), Attributes(names=tuple(attributes))),
        name=f"faces {size} x {size} ({split})",
    )


def with_landmark_maps(source: Rendered) -> Rendered:
    """What `faces` returned, with x_input: a map for each landmark, (N, 6, size, size) float32 in [0, 1]."""
    size = source.shape[-1]
    return with_input(source, landmark_maps(source.further["landmarks"], size))


def frontal_pairs(source: Rendered) -> Rendered:
    """What `faces` returned, as x_input; x and landmarks are those of the same faces seen from the front.

    The key yaw stays that of x_input.
    """
    channels, size, _ = source.shape
    drawn = Faces(**{field.name: source.further[field.name] for field in dataclasses.fields(Faces)})
    frontal = dataclasses.replace(drawn, yaw=torch.zeros_like(drawn.yaw))
    pairs = dataclasses.replace(
        source,
        x=paint(frontal, size=size, channels=channels),
        further={**source.further, "landmarks": landmarks(frontal, size)},
    )
    return with_input(pairs, source.x)


def _check_name(name: str) -> None:
    if name not in SPANS:
        raise GencoreError(f"There is no factor {name!r} of faces.{suggest(name, SPANS)}")


def _checked_ranges(ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    for name, (low, high) in ranges.items():
        _check_name(name)
        least, most = SPANS[name]
        if not least <= low <= high <= most:
            raise GencoreError(f"The range of {name} is ({low}, {high}); expected low <= high within {SPANS[name]}.")
    return {**SPANS, **ranges}
