"""A picture through a network piece by piece, equal to the whole where each output sees a bounded part of the input."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How a translator may be cut: a Model says it by an attribute `tiling`, None where each pixel sees the whole.

    `reach`: pixels of the input, on each side, that an output sees. `stride`: pieces begin at multiples of it.
    """

    reach: int
    stride: int = 1

    def __post_init__(self) -> None:
        check(self.reach >= 0, "reach", self.reach, "0 or more")
        check(self.stride >= 1, "stride", self.stride, "1 or more")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One piece along one axis: what is read, [first, last), and what of it is kept, [start, stop)."""

    first: int
    last: int
    start: int
    stop: int


def spans(size: int, tile: int, tiling: Tiling) -> list[Span]:
    """Pieces of `tile` pixels at most to keep, which cover `size` once; each is read with `reach` on both sides."""
    stride = tiling.stride
    tile = max(tile // stride * stride, stride)
    margin = -(-tiling.reach // stride) * stride
    return [
        Span(
            first=max(0, start - margin),
            last=min(size, start + tile + margin),
            start=start,
            stop=min(size, start + tile),
        )
        for start in range(0, size, tile)
    ]


def tiles(x: Tensor, tile: int, tiling: Tiling | None) -> list[tuple[Span, Span]]:
    """The pieces (down, across) of a picture (C, H, W); `tile` 0, or no tiling: the whole as one."""
    height, width = x.shape[-2:]
    if not tile or tiling is None:
        whole = Tiling(reach=0)
        return [(spans(height, height, whole)[0], spans(width, width, whole)[0])]
    return [(down, across) for down in spans(height, tile, tiling) for across in spans(width, tile, tiling)]


def translated_tiles(
    translate: Callable[[Tensor], Tensor], x: Tensor, pieces: list[tuple[Span, Span]]
) -> Iterator[tuple[int, int, int, Tensor]]:
    """(scale, top, left, piece (C', h, w)) of the translation of x (C, H, W), which is `scale` times as large.

    Raises GencoreError for a network whose result has not the picture's shape.
    """
    for down, across in pieces:
        part = x[:, down.first : down.last, across.first : across.last]
        made = translate(part[None])[0]
        scale = made.shape[-1] // part.shape[-1]
        if tuple(made.shape[-2:]) != (scale * part.shape[-2], scale * part.shape[-1]):
            raise GencoreError(
                f"The model makes {tuple(made.shape[-2:])} of {tuple(part.shape[-2:])}; expected a whole multiple."
            )
        kept = made[
            :,
            scale * (down.start - down.first) : scale * (down.stop - down.first),
            scale * (across.start - across.first) : scale * (across.stop - across.first),
        ]
        yield scale, scale * down.start, scale * across.start, kept
