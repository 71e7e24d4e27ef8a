"""How a face is painted from its factors, and where its landmarks lie: pure functions, differentiable throughout.

Positions are in [-1, 1], x to the right and y down; the middle of pixel k of `size` lies at (k + 0.5) / size * 2 - 1.
A head of half width a carries its features at angles phi on a cylinder: a feature shows at a * sin(phi + turn), and is
foreshortened by cos(phi + turn).
"""

from __future__ import annotations

import dataclasses
import math

import torch
from einops import rearrange
from torch import Tensor

from gencore.errors import GencoreError

NUM_LANDMARKS = 6
MIRRORED = (1, 0, 2, 4, 3, 5)
MOST_TURN = math.radians(40)
GREY = (0.3, 0.6, 0.1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Faces:
    """The factors of N faces; see gencore.data.toys.faces."""

    identity: Tensor
    yaw: Tensor
    age: Tensor
    glasses: Tensor
    expression: Tensor

    @property
    def smile(self) -> Tensor:
        """(N,) in [-1, 1]."""
        return self.expression[:, 0]

    @property
    def opening(self) -> Tensor:
        """How far the mouth is open, (N,) in [0, 1]."""
        return (self.expression[:, 1] + 1) / 2

    @property
    def head(self) -> Tensor:
        """Half the head's width, (N,)."""
        return 0.60 + 0.13 * self.identity[:, 0]

    @property
    def turn(self) -> Tensor:
        """The head's angle, (N,) radians."""
        return self.yaw * MOST_TURN

    def across(self, phi: Tensor | float) -> Tensor:
        """Where a feature at angle phi shows, (N,)."""
        return self.head * torch.sin(phi + self.turn)


def _eye_angle(faces: Faces) -> Tensor:
    return 0.48 + 0.13 * faces.identity[:, 1]


def _points(faces: Faces) -> Tensor:
    """The landmarks, (N, 6, 2) in [-1, 1]."""
    eye, mouth = _eye_angle(faces), 0.36 + 0.13 * faces.identity[:, 2] + 0.04 * faces.smile
    level, corner = torch.zeros_like(faces.yaw), 0.46 - 0.10 * faces.smile
    nose = faces.across(0.0)
    pairs = (
        (faces.across(-eye), level - 0.18),
        (faces.across(eye), level - 0.18),
        (nose * 1.1, level + 0.14),
        (faces.across(-mouth), corner),
        (faces.across(mouth), corner),
        (nose, 0.66 + 0.10 * faces.opening),
    )
    return torch.stack([torch.stack(pair, dim=1) for pair in pairs], dim=1)


def landmarks(faces: Faces, size: int = 16) -> Tensor:
    """(N, 6, 2) float32, (x, y) in pixels; the middle of pixel k is k. Order: the head of gencore.data.toys.faces."""
    return (_points(faces) + 1) / 2 * size - 0.5


def landmark_maps(points: Tensor, size: int = 16, sigma: float | None = None) -> Tensor:
    """A Gaussian blob of `sigma` pixels (size / 16) at each point: (N, K, 2) to (N, K, size, size) in [0, 1]."""
    pixel, width = torch.arange(size, dtype=points.dtype), sigma or size / 16
    across, down = (torch.exp(-(((pixel - points[..., [axis]]) / width) ** 2) / 2) for axis in (0, 1))
    return torch.einsum("nky,nkx->nkyx", down, across)


def _per_face(values: Tensor) -> Tensor:
    return rearrange(values, "n -> n 1 1")


def _line(distance: Tensor, width: float) -> Tensor:
    """A soft line where the distance is small."""
    return torch.exp(-((distance / width) ** 2))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """The positions of the pixels, (1, 1, size) and (1, size, 1), and the width of a soft edge."""

    x: Tensor
    y: Tensor
    edge: float

    def step(self, distance: Tensor, sharpness: float = 2.0) -> Tensor:
        """From 0 to 1 over about a pixel, where the distance passes 0."""
        return torch.sigmoid(distance / self.edge * sharpness)

    def radius(self, px: Tensor, py: Tensor, rx: Tensor | float, ry: Tensor | float) -> Tensor:
        """The distance from (px, py) in units of the half axes, (N, size, size); its gradient is finite at 0."""
        return (((self.x - px) / rx) ** 2 + ((self.y - py) / ry) ** 2 + 1e-6).sqrt()

    def disc(self, px: Tensor, py: Tensor, rx: Tensor, ry: Tensor | float) -> Tensor:
        """A soft ellipse, (N, size, size) in [0, 1]; all arguments are (N, 1, 1)."""
        return self.step((1 - self.radius(px, py, rx, ry)) * torch.clamp(rx, max=torch.as_tensor(ry)))


def paint(faces: Faces, *, size: int = 16, channels: int = 1) -> Tensor:
    """Pictures (N, channels, size, size) float32 in [-1, 1]. Raises GencoreError unless channels is 1 or 3."""
    if channels not in (1, 3):
        raise GencoreError(f"channels is {channels}; expected 1 or 3.")
    at = (torch.arange(size, dtype=torch.float32) + 0.5) / size * 2 - 1
    grid = _Grid(rearrange(at, "x -> 1 1 x"), rearrange(at, "y -> 1 y 1"), 0.7 * 2 / size)
    points = [(_per_face(x), _per_face(y)) for x, y in (p.unbind(1) for p in _points(faces).unbind(1))]
    eye = _eye_angle(faces)
    narrowed = [_per_face(torch.cos(phi + faces.turn)) for phi in (-eye, eye)]

    image = torch.full((len(faces.yaw), 3, size, size), 0.05)
    image, head = _paint_head(image, faces, grid)
    image = image * (1 - 0.55 * _per_face(faces.age) * _wrinkles(faces, grid, points[2][0]) * head).unsqueeze(1)
    image = _paint_eyes_and_nose(image, faces, grid, points, narrowed)
    image = _over(image, _mouth(faces, grid, points), (0.45, 0.08, 0.10))
    image = _over(image, _per_face(faces.glasses) * _glasses(grid, points, narrowed), (0.02, 0.02, 0.02))
    if channels == 1:
        image = torch.einsum("nchw,c->nhw", image, torch.tensor(GREY)).unsqueeze(1)
    return image.clamp(0, 1) * 2 - 1


_Point = tuple[Tensor, Tensor]
_Colour = tuple[Tensor | float, Tensor | float, Tensor | float]


def _over(image: Tensor, mask: Tensor, colour: _Colour) -> Tensor:
    """The colour laid over the image, as far as the mask covers it."""
    channels = [torch.as_tensor(c).expand(len(image)) for c in colour]
    laid = rearrange(torch.stack(channels, dim=1), "n c -> n c 1 1")
    return torch.lerp(image, laid, mask.unsqueeze(1))


def _skin(faces: Faces) -> tuple[Tensor, Tensor, Tensor]:
    tone = (faces.identity[:, 3] + 1) / 2
    return 0.45 + 0.50 * tone, 0.32 + 0.46 * tone, 0.26 + 0.40 * tone


def _paint_head(image: Tensor, faces: Faces, grid: _Grid) -> tuple[Tensor, Tensor]:
    """Hair, head and the shade of the side turned away; also the head's mask."""
    a, tone = _per_face(faces.head), (faces.identity[:, 4] + 1) / 2
    nought = torch.zeros_like(a)
    head = grid.disc(nought, nought + 0.08, a, _per_face(0.78 + 0.06 * faces.opening))
    hair = grid.disc(_per_face(-0.10 * torch.sin(faces.turn)), nought - 0.14, a + 0.10, 0.76)
    image = _over(image, hair, (0.08 + 0.55 * tone, 0.06 + 0.45 * tone, 0.05 + 0.30 * tone))
    image = _over(image, head * grid.step(grid.y + 0.62), _skin(faces))
    yaw = _per_face(faces.yaw)
    shade = torch.sigmoid(-3 * yaw * grid.x / a) * yaw.abs() * head
    return image * (1 - 0.45 * shade).unsqueeze(1), head


def _wrinkles(faces: Faces, grid: _Grid, nose_x: Tensor) -> Tensor:
    """Two lines on the forehead and one on each cheek, (N, size, size) in [0, 1]."""
    axis = nose_x / 1.1
    forehead = _line(grid.y + 0.50, 0.05) + _line(grid.y + 0.36, 0.05)
    lines = forehead * _line((grid.x - axis) / (0.75 * _per_face(faces.head)), 0.9) ** 2
    for side in (-1, 1):
        slant = side * 0.25 * (grid.y - 0.3)
        lines = lines + _line(grid.x - _per_face(faces.across(side * 0.62)) - slant, 0.06) * _line(grid.y - 0.26, 0.17)
    return lines.clamp(max=1)


def _paint_eyes_and_nose(
    image: Tensor, faces: Faces, grid: _Grid, points: list[_Point], narrowed: list[Tensor]
) -> Tensor:
    def eyes(rx: float, ry: float, aside: Tensor | float) -> Tensor:
        # One mask for both: laid one over the other, eyes that overlap would break the mirror symmetry.
        pair = [
            grid.disc(x + aside, y, rx * (0.35 + 0.65 * w), ry) for (x, y), w in zip(points[:2], narrowed, strict=True)
        ]
        return torch.maximum(*pair)

    image = _over(image, eyes(0.15, 0.10, 0.0), (0.95, 0.95, 0.95))
    image = _over(image, eyes(0.085, 0.09, _per_face(0.04 * faces.yaw)), (0.05, 0.05, 0.10))
    x, y = points[2]
    nose = grid.disc(x, y - 0.08, torch.full_like(x, 0.06), 0.14)
    red, green, blue = _skin(faces)
    return _over(image, 0.5 * nose, (0.55 * red, 0.55 * green, 0.55 * blue))


def _mouth(faces: Faces, grid: _Grid, points: list[_Point]) -> Tensor:
    """A soft bow between the corners, thick as the mouth is open, (N, size, size) in [0, 1]."""
    (left, y_left), (right, y_right) = points[3:5]
    middle, half = (left + right) / 2, (right - left) / 2
    t = ((grid.x - middle) / half).clamp(-1.6, 1.6)
    bow = (y_left + y_right) / 2 + _per_face(0.20 * faces.smile) * (1 - t**2)
    depth = (grid.y - bow) / _per_face(0.055 + 0.10 * faces.opening)
    return torch.exp(-(depth**2) - t**6)


def _glasses(grid: _Grid, points: list[_Point], narrowed: list[Tensor]) -> Tensor:
    """Two rings and the bridge between them, (N, size, size) in [0, 1]."""
    (left, y), (right, _) = points[:2]
    rings = [
        _line(grid.radius(x, py, 0.4 + 0.6 * w, 1.0) - 0.235, 0.055)
        for (x, py), w in zip(points[:2], narrowed, strict=True)
    ]
    between = grid.step(grid.x - left - 0.2, 1.0) * grid.step(right - 0.2 - grid.x, 1.0)
    return (sum(rings) + between * _line(grid.y - y, 0.05)).clamp(max=1)
