"""The network of PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517, section 2.3, figure 2): two streams, one that sees
all rows above and one that sees what is left of it in its row, too; down by strides and up again with short-cuts.

All pixels of a row come from the first stream at once, so while a picture is drawn it runs once a row, the second one
once a pixel, and a level that is half as high and wide only at every second row and column.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencore.nn.causal import Memories
from gencore.nn.masked import Kind, MaskedConv2d, one_row_down


class Given(NamedTuple):
    """What the first stream gives the second at one level: after each block down and up, and the levels below."""

    down: list[Tensor]
    up: list[Tensor]
    below: Given | None


class Whole:
    """Everywhere at once."""

    def apply(self, layer: nn.Module, value: Tensor) -> Tensor:
        """The layer's output."""
        return layer(value)

    def take(self, given: Tensor) -> Tensor:
        """What the first stream gives here."""
        return given

    def below(self, shrink: nn.Module, run: Callable[..., Any], grow: nn.Module, value: Tensor) -> tuple[Tensor, Any]:
        """`run` at half the height and width -> its output at this size again, and what else it returns."""
        out, further = run(shrink(value), self)
        return grow(out), further


@dataclasses.dataclass(frozen=True, slots=True)
class Here:
    """One row (`column` None), or one pixel, at a level of the picture: `memories` and `kept` are the drawing's own."""

    memories: list[Memories]
    kept: dict[tuple[nn.Module, int | None], Any]
    level: int
    row: int
    column: int | None

    def apply(self, layer: nn.Module, value: Tensor) -> Tensor:
        """The layer's output here."""
        return self.memories[self.level].get(layer).step(value, self.row, self.column or 0)

    def take(self, given: Tensor) -> Tensor:
        """What the first stream gives this pixel, of what it gives the row."""
        assert self.column is not None
        return given[:, :, :, self.column : self.column + 1]

    def below(self, shrink: nn.Module, run: Callable[..., Any], grow: nn.Module, value: Tensor) -> tuple[Tensor, Any]:
        """As in `Whole`; computed at even places, the output is kept for the places around."""
        column, lower = self.column or 0, None if self.column is None else self.column // 2
        memory = self.memories[self.level].get(shrink)
        if self.row % 2 or column % 2:
            memory.write(value, self.row, column)
        else:
            inner = Here(self.memories, self.kept, self.level + 1, self.row // 2, lower)
            self.kept[shrink, lower] = run(memory.step(value, self.row, column), inner)
        out, further = self.kept[shrink, lower]
        grown = grow(out)[:, :, self.row % 2 : self.row % 2 + 1]
        return grown if self.column is None else grown[:, :, :, column % 2 : column % 2 + 1], further


Where = Whole | Here


def both_signs(x: Tensor) -> Tensor:
    """ELU of x and of -x, (N, 2 C, H, W)."""
    return F.elu(torch.cat([x, -x], 1))


class Block(nn.Module):
    """x + a . sigmoid(b) of two convolutions of x and, after the first, of what comes from the side."""

    def __init__(self, kind: Kind, width: int, side: int, dropout: float) -> None:
        super().__init__()
        self.first = MaskedConv2d(kind, 2 * width, width, 3)
        self.side = nn.Conv2d(2 * side, width, 1) if side else None
        self.dropout = dropout
        self.second = MaskedConv2d(kind, 2 * width, 2 * width, 3)

    def body(self, x: Tensor, side: Tensor | None, where: Where) -> Tensor:
        """x (N, width, H, W), side (N, side, H, W) -> (N, width, H, W)."""
        hidden = where.apply(self.first, both_signs(x))
        if self.side is not None:
            assert side is not None
            hidden = hidden + self.side(both_signs(side))
        hidden = F.dropout(both_signs(hidden), self.dropout, self.training)
        value, opening = where.apply(self.second, hidden).chunk(2, 1)
        return x + value * opening.sigmoid()


class Level(nn.Module):
    """`blocks` blocks down and as many up in each stream, and between them the levels below."""

    def __init__(self, width: int, blocks: int, dropout: float, below: int) -> None:
        super().__init__()

        def stack(kind: Kind, side: int) -> nn.ModuleList:
            return nn.ModuleList(Block(kind, width, side, dropout) for _ in range(blocks))

        self.rows_down, self.rows_up = stack("rows", 0), stack("rows", width)
        self.pixels_down, self.pixels_up = stack("corner", width), stack("corner", 2 * width)
        self.lower = Level(width, blocks, dropout, below - 1) if below else None
        if below:
            self.rows_shrink = MaskedConv2d("rows", width, width, 3, stride=2)
            self.rows_grow = nn.ConvTranspose2d(width, width, 2, 2)
            self.pixels_shrink = MaskedConv2d("corner", width, width, 3, stride=2)
            self.pixels_grow = nn.ConvTranspose2d(width, width, 2, 2)

    def rows(self, u: Tensor, where: Where) -> tuple[Tensor, Given]:
        """The first stream (N, width, H, W)."""
        skips: list[Tensor] = []
        for block in self.rows_down:
            u = block.body(u, None, where)  # type: ignore[operator]
            skips.append(u)
        down, up, below = list(skips), [], None
        if self.lower is not None:
            u, below = where.below(self.rows_shrink, self.lower.rows, self.rows_grow, u)
        for block in self.rows_up:
            u = block.body(u, skips.pop(), where)  # type: ignore[operator]
            up.append(u)
        return u, Given(down, up, below)

    def pixels(self, ul: Tensor, given: Given, where: Where) -> Tensor:
        """The second stream (N, width, H, W)."""
        skips: list[Tensor] = []
        for block, side in zip(self.pixels_down, given.down, strict=True):
            ul = block.body(ul, where.take(side), where)  # type: ignore[operator]
            skips.append(ul)
        if (lower := self.lower) is not None:
            below = given.below

            def run(value: Tensor, inner: Where) -> tuple[Tensor, None]:
                assert below is not None
                return lower.pixels(value, below, inner), None

            ul, _ = where.below(self.pixels_shrink, run, self.pixels_grow, ul)
        for block, side in zip(self.pixels_up, given.up, strict=True):
            ul = block.body(ul, torch.cat([where.take(side), skips.pop()], 1), where)  # type: ignore[operator]
        return ul


class TwoStreams(nn.Module):
    """Pictures (N, C, H, W) -> (N, outputs, H, W), the numbers at a pixel from whole pixels before it."""

    def __init__(
        self, channels: int, outputs: int, *, width: int, blocks: int, downsamplings: int, dropout: float
    ) -> None:
        super().__init__()
        self.downsamplings = downsamplings
        self.rows_first = MaskedConv2d("rows", channels + 1, width, 3)
        self.above_first = MaskedConv2d("rows", channels + 1, width, (1, 3))
        self.left_first = MaskedConv2d("A", channels + 1, width, (1, 3))
        self.levels = Level(width, blocks, dropout, downsamplings)
        self.output = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """All pixels at once."""
        return self.pixels(x, *self.rows(one_row_down(with_ones(x)), Whole()), Whole())

    def rows(self, above: Tensor, where: Where) -> tuple[Tensor, Given]:
        """above (N, C + 1, H, W): the rows above these -> what they give these rows."""
        first = where.apply(self.above_first, above)
        return first, self.levels.rows(where.apply(self.rows_first, above), where)[1]

    def pixels(self, x: Tensor, first: Tensor, given: Given, where: Where) -> Tensor:
        """The numbers at pixels (N, C, H, W)."""
        ul = where.take(first) + where.apply(self.left_first, with_ones(x))
        return self.output(F.elu(self.levels.pixels(ul, given, where)))

    def start(self, count: int, height: int, width: int) -> TwoStreamSteps:
        """For `count` pictures that are drawn pixel by pixel."""
        return TwoStreamSteps(self, count, height, width)


def with_ones(x: Tensor) -> Tensor:
    """x (N, C, H, W) and a channel of ones, by which the picture is told from what is around it."""
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)


class TwoStreamSteps:
    """The first stream once a row, the second once a pixel; the channels of a pixel share it."""

    def __init__(self, network: TwoStreams, count: int, height: int, width: int) -> None:
        self.network = network
        self.memories = [Memories(count, height >> lv, width >> lv) for lv in range(network.downsamplings + 1)]
        self.kept: dict[tuple[nn.Module, int | None], Any] = {}
        self.place, self.out = (-1, -1), torch.empty(0)

    def at(self, x: Tensor, row: int, column: int) -> Tensor:
        """x (N, C, H, W), drawn so far -> (N, outputs, 1, 1)."""
        if row != self.place[0]:
            above = with_ones(x[:, :, row - 1 : row]) if row else torch.zeros_like(with_ones(x[:, :, :1]))
            self.given = self.network.rows(above, Here(self.memories, self.kept, 0, row, None))
        if (row, column) != self.place:
            here = x[:, :, row : row + 1, column : column + 1]
            self.out = self.network.pixels(here, *self.given, Here(self.memories, self.kept, 0, row, column))
            self.place = (row, column)
        return self.out

    def put(self, x: Tensor, row: int, column: int) -> None:
        """All channels of x are drawn at that pixel."""
        memory = self.memories[0].get(self.network.left_first)
        memory.write(with_ones(x[:, :, row : row + 1, column : column + 1]), row, column)
