"""Convolutions that see only what comes before, in raster order, and what they remember while a picture is drawn."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["A", "B", "rows", "corner"]


def raster_mask(kernel_size: int | tuple[int, int], *, sees_centre: bool) -> Tensor:
    """(kernel_size, kernel_size) float32: 1 in the rows above the centre and left of it, and there if `sees_centre`.

    A pair is (height, width).
    """
    height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    mask = torch.zeros(height, width)
    mask[: height // 2] = 1
    mask[height // 2, : width // 2 + sees_centre] = 1
    return mask


def colour_mask(channels: int, outputs: int, *, colours: int, copies: int, sees_itself: bool) -> Tensor:
    """(outputs, channels) float32: 1 where the output's colour comes after the channel's, or is it if `sees_itself`.

    Channels are split evenly into `colours`, in their order; `copies` outputs that follow each other are of one channel
    (its logits, its gates).
    """
    of_input = torch.arange(channels) * colours // channels
    of_output = (torch.arange(outputs // copies) * colours // (outputs // copies)).repeat_interleave(copies)
    later = of_output[:, None] > of_input
    return (later | (of_output[:, None] == of_input) if sees_itself else later).float()


class MaskedConv2d(nn.Conv2d):
    """A convolution whose output at a place depends on the places that its kind lets it see. Kernel sides are odd.

    A        the places before it in raster order; with several colours, at the place itself the colours before its own
    B        as A, and itself: at the place itself its own colour and those before
    rows     this row and all rows above, in full
    corner   left of it and above, both included

    A and B are those of van den Oord, Kalchbrenner & Kavukcuoglu 2016 (arXiv:1601.06759, section 3.4), where a pixel's
    red is drawn first, green sees it, blue sees both. Without a stride the output has the input's size.
    """

    mask: Tensor

    def __init__(
        self,
        kind: Kind,
        channels: int,
        outputs: int,
        kernel_size: int | tuple[int, int],
        *,
        colours: int = 1,
        copies: int = 1,
        stride: int = 1,
    ) -> None:
        height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        assert kind in ("A", "B", "rows", "corner")
        assert height % 2 == width % 2 == 1
        assert outputs % copies == 0
        super().__init__(channels, outputs, (height, width), stride=stride, padding=(height // 2, width // 2))
        mask = raster_mask((height, width), sees_centre=kind != "A").expand(outputs, channels, -1, -1).clone()
        if kind == "rows":
            mask[:, :, height // 2] = 1
        elif kind == "corner":
            mask[:, :, :, width // 2 + 1 :] = 0
        elif colours > 1:
            mask[:, :, height // 2, width // 2] = colour_mask(
                channels, outputs, colours=colours, copies=copies, sees_itself=kind == "B"
            )
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, outputs, H, W), or every `stride`-th row and column of that."""
        return self._conv_forward(x, self.weight * self.mask, self.bias)

    def start(self, count: int, height: int, width: int) -> ConvMemory:
        """For `count` pictures that are drawn place by place."""
        return ConvMemory(self, count, height, width)


class ConvMemory:
    """What a MaskedConv2d has been given so far; it computes the outputs that are asked for, and no others."""

    def __init__(self, conv: MaskedConv2d, count: int, height: int, width: int) -> None:
        self.above, self.beside, self.stride = conv.kernel_size[0] // 2, conv.kernel_size[1] // 2, conv.stride
        self.bias = conv.bias
        self.weight = (conv.weight * conv.mask)[:, :, : self.above + 1]  # all kinds hide the rows below
        self.seen = conv.weight.new_zeros(count, conv.in_channels, height + self.above, width + 2 * self.beside)

    def write(self, value: Tensor, row: int, column: int) -> None:
        """value (N, channels, h, w), the input from that row and column on."""
        height, width = value.shape[2:]
        top, left = row + self.above, column + self.beside
        self.seen[:, :, top : top + height, left : left + width] = value

    def step(self, value: Tensor, row: int, column: int) -> Tensor:
        """value (N, channels, h, w), the input from that row and column on -> the output there, (N, outputs, h, w)."""
        self.write(value, row, column)
        height, width = value.shape[2:]
        window = self.seen[:, :, row : row + self.above + height, column : column + 2 * self.beside + width]
        if height == width == 1:  # a convolution's set-up takes several times as long as this product
            out = F.linear(window.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None]
        else:
            out = F.conv2d(window, self.weight, self.bias, stride=self.stride)
        return out


def one_row_down(x: Tensor) -> Tensor:
    """x (N, C, H, W): row i becomes row i + 1, row 0 zero."""
    return F.pad(x, (0, 0, 1, 0))[:, :, :-1]
