"""The gated PixelCNN's network (van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders",
arXiv:1606.05328): a picture's, a prior's over a grid of codes, or a decoder's.

    y = tanh(W_f * x + V_f h) . sigmoid(W_g * x + V_g h)                                       (equations 2, 3, 4)
A vertical stack sees all rows above, a horizontal one the row so far. The vertical stack reads the picture one row
lower, and feeds the horizontal one through a 1 x 1 convolution, never back (section 2.2, figure 2): no blind spot. h is
a vector (a class) or maps of the picture's size, s = m(h) (section 2.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore.nn.causal import Apply, Memories, whole
from gencore.nn.masked import MaskedConv2d, one_row_down

Contexts = Sequence[tuple[Tensor | float, Tensor | float]]
"""For each layer what its vertical and what its horizontal stack adds before the gates."""


def gate(x: Tensor) -> Tensor:
    """Channels in pairs (N, 2 C, H, W) -> tanh of the first times sigmoid of the second, (N, C, H, W)."""
    feature, opening = rearrange(x, "n (c two) h w -> two n c h w", two=2)
    return torch.tanh(feature) * torch.sigmoid(opening)


class GatedLayer(nn.Module):
    """One layer of both stacks. The first one's horizontal convolution is of kind A, and it has no residual."""

    def __init__(self, channels: int, width: int, kernel_size: int, *, first: bool, colours: int) -> None:
        super().__init__()
        self.first = first
        self.down = MaskedConv2d("rows", channels, 2 * width, kernel_size)
        self.across = nn.Conv2d(2 * width, 2 * width, 1)
        self.along = MaskedConv2d(
            "A" if first else "B", channels, 2 * width, (1, kernel_size), colours=colours, copies=2
        )
        self.out = MaskedConv2d("B", width, width, 1, colours=colours)

    def vertical(self, x: Tensor, context: Tensor | float, apply: Apply) -> tuple[Tensor, Tensor]:
        """x (N, channels, H, W) -> what the next layer reads, (N, width, H, W), and what this row gives its pixels."""
        seen = apply(self.down, x)
        return gate(seen + context), self.across(seen)

    def horizontal(self, x: Tensor, above: Tensor, context: Tensor | float, apply: Apply) -> Tensor:
        """x (N, channels, H, W) and `above` from `vertical` -> (N, width, H, W)."""
        out = self.out(gate(apply(self.along, x) + above + context))
        return out if self.first else x + out


class GatedPixelNetwork(nn.Module):
    """Pictures (N, inputs, H, W) -> (N, outputs, H, W), the numbers at a pixel from the pixels before it alone.

    With several `colours` the inputs, and the outputs, are split evenly in their order: outputs of colour c see earlier
    colours of the pixel itself. `vector`, `maps`: sizes of the conditions, 0 without.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int,
        layers: int,
        kernel_size: int = 3,
        first_kernel_size: int = 7,
        colours: int = 1,
        vector: int = 0,
        maps: int = 0,
    ) -> None:
        super().__init__()
        first = GatedLayer(inputs, width, first_kernel_size, first=True, colours=colours)
        others = (GatedLayer(width, width, kernel_size, first=False, colours=colours) for _ in range(layers - 1))
        self.layers = nn.ModuleList((first, *others))
        self.hidden = MaskedConv2d("B", width, width, 1, colours=colours)
        self.output = MaskedConv2d("B", width, outputs, 1, colours=colours, copies=outputs // colours)
        self.vector = nn.Linear(vector, layers * 4 * width, bias=False) if vector else None
        self.maps = nn.Conv2d(maps, layers * 4 * width, 1, bias=False) if maps else None

    def forward(self, x: Tensor, vector: Tensor | None = None, maps: Tensor | None = None) -> Tensor:
        """x (N, inputs, H, W), vector (N, vector), maps (N, maps, H, W)."""
        contexts = self.contexts(vector, maps)
        return self.horizontal(x, self.vertical(one_row_down(x), contexts, whole), contexts, whole)

    def contexts(self, vector: Tensor | None, maps: Tensor | None) -> Contexts:
        """Of the conditions, at every place, or everywhere the same."""
        total: Tensor | None = None
        if self.vector is not None:
            assert vector is not None
            total = self.vector(vector)[:, :, None, None]
        if self.maps is not None:
            assert maps is not None
            total = self.maps(maps) if total is None else total + self.maps(maps)
        if total is None:
            return [(0.0, 0.0)] * len(self.layers)
        both = rearrange(total, "n (layers two c) h w -> layers two n c h w", layers=len(self.layers), two=2)
        return [(vertical, horizontal) for vertical, horizontal in both]

    def vertical(self, x: Tensor, contexts: Contexts, apply: Apply) -> list[Tensor]:
        """What the rows above give the pixels of each layer."""
        given = []
        for layer, (context, _) in zip(self.layers, contexts, strict=True):
            x, above = layer.vertical(x, context, apply)  # type: ignore[operator]
            given.append(above)
        return given

    def horizontal(
        self,
        x: Tensor,
        above: Sequence[Tensor],
        contexts: Contexts,
        apply: Apply,
    ) -> Tensor:
        """The outputs, (N, outputs, H, W)."""
        for layer, given, (_, context) in zip(self.layers, above, contexts, strict=True):
            x = layer.horizontal(x, given, context, apply)  # type: ignore[operator]
        return self.output(F.relu(self.hidden(F.relu(x))))

    def start(
        self, count: int, height: int, width: int, vector: Tensor | None = None, maps: Tensor | None = None
    ) -> GatedSteps:
        """For `count` pictures that are drawn pixel by pixel, under those conditions."""
        return GatedSteps(self, count, height, width, self.contexts(vector, maps))


class GatedSteps:
    """The vertical stack once a row, the horizontal one once a pixel."""

    def __init__(
        self,
        network: GatedPixelNetwork,
        count: int,
        height: int,
        width: int,
        contexts: Contexts,
    ) -> None:
        self.network, self.contexts = network, contexts
        self.memories = Memories(count, height, width)
        self.row, self.above = -1, list[Tensor]()

    def at(self, x: Tensor, row: int, column: int) -> Tensor:
        """x (N, inputs, H, W), drawn so far -> (N, outputs, 1, 1). Pixels are asked for in raster order."""
        if row != self.row:
            before = x[:, :, row - 1 : row] if row else torch.zeros_like(x[:, :, :1])
            of_row = [(part(v, row), 0.0) for v, _ in self.contexts]
            self.above, self.row = self.network.vertical(before, of_row, self.memories.at(row, 0)), row
        of_pixel = [(0.0, part(h, row, column)) for _, h in self.contexts]
        above = [given[:, :, :, column : column + 1] for given in self.above]
        here = x[:, :, row : row + 1, column : column + 1]
        return self.network.horizontal(here, above, of_pixel, self.memories.at(row, column))

    def put(self, x: Tensor, row: int, column: int) -> None:
        """All channels of x are drawn at that pixel."""
        here = x[:, :, row : row + 1, column : column + 1]
        self.memories.get(self.network.layers[0].along).write(here, row, column)


def part(context: Tensor | float, row: int, column: int | None = None) -> Tensor | float:
    """A context's row, or its pixel; one that is the same everywhere as it is."""
    if isinstance(context, float) or context.shape[2] == context.shape[3] == 1:
        return context
    rows = context[:, :, row : row + 1]
    return rows if column is None else rows[:, :, :, column : column + 1]
