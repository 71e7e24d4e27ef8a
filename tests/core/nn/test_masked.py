"""Masked convolutions: what each kind sees, the colours' order, and the memory while a picture is drawn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gencore.nn.masked import MaskedConv2d, colour_mask, one_row_down, raster_mask


def seen(conv: MaskedConv2d, size: int = 5) -> list[str]:
    """Where the output in the middle of a picture has a gradient: a row of 0 and 1 for each row of the picture."""
    x = torch.randn(1, conv.in_channels, size, size, requires_grad=True)
    middle = size // 2 // conv.stride[0]
    (gradient,) = torch.autograd.grad(conv(x)[0, :, middle, middle].sum(), x)
    return ["".join(str(int(value != 0)) for value in row) for row in gradient[0].abs().sum(0)]


def test_what_each_kind_sees() -> None:
    assert seen(MaskedConv2d("A", 1, 2, 3)) == ["00000", "01110", "01000", "00000", "00000"]
    assert seen(MaskedConv2d("B", 1, 2, 3)) == ["00000", "01110", "01100", "00000", "00000"]
    assert seen(MaskedConv2d("rows", 1, 2, 3)) == ["00000", "01110", "01110", "00000", "00000"]
    assert seen(MaskedConv2d("corner", 1, 2, 3)) == ["00000", "01100", "01100", "00000", "00000"]
    assert seen(MaskedConv2d("A", 1, 2, (1, 5))) == ["00000", "00000", "11000", "00000", "00000"]
    assert seen(MaskedConv2d("corner", 1, 2, 3, stride=2)) == ["00000", "01100", "01100", "00000", "00000"]


def test_colours_by_hand() -> None:
    """Three channels of red, green and blue; six outputs, two for each."""
    hidden = colour_mask(3, 6, colours=3, copies=2, sees_itself=False)
    assert hidden.tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0]]
    visible = colour_mask(3, 3, colours=3, copies=1, sees_itself=True)
    assert visible.tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    uneven = colour_mask(4, 3, colours=3, copies=1, sees_itself=True)  # red has two of the four channels
    assert uneven.tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]


def test_other_places_are_seen_in_all_colours() -> None:
    conv = MaskedConv2d("A", 3, 3, 3, colours=3)
    assert torch.equal(conv.mask[:, :, 0], torch.ones(3, 3, 3))
    assert torch.equal(conv.mask[:, :, 1, 0], torch.ones(3, 3))
    assert not conv.mask[:, :, 1, 2].any()
    assert not conv.mask[:, :, 2].any()
    assert raster_mask((1, 3), sees_centre=False).tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("kind", ["A", "B", "rows", "corner"])
@torch.no_grad()
def test_memory(kind: str) -> None:
    """Row by row and pixel by pixel it gives what the convolution gives; what was not yet written counts as zero."""
    torch.manual_seed(0)
    conv = MaskedConv2d(kind, 2, 4, 3, colours=2).double()  # type: ignore[arg-type]
    x: Tensor = torch.randn(3, 2, 4, 5).double()
    whole = conv(x)
    by_row = conv.start(3, 4, 5)
    for row in range(4):
        torch.testing.assert_close(by_row.step(x[:, :, row : row + 1], row, 0), whole[:, :, row : row + 1])
    if kind != "rows":
        by_pixel = conv.start(3, 4, 5)
        for row in range(4):
            for column in range(5):
                here = (slice(None), slice(None), slice(row, row + 1), slice(column, column + 1))
                torch.testing.assert_close(by_pixel.step(x[here], row, column), whole[here])


@torch.no_grad()
def test_memory_with_a_stride() -> None:
    conv = MaskedConv2d("rows", 2, 3, 3, stride=2).double()
    x = torch.randn(3, 2, 4, 6).double()
    whole, memory = conv(x), conv.start(3, 4, 6)
    for row in range(4):
        if row % 2:
            memory.write(x[:, :, row : row + 1], row, 0)
        else:
            torch.testing.assert_close(
                memory.step(x[:, :, row : row + 1], row, 0), whole[:, :, row // 2 : row // 2 + 1]
            )


def test_one_row_down() -> None:
    x = torch.arange(6.0).view(1, 1, 3, 2)
    assert one_row_down(x)[0, 0].tolist() == [[0, 0], [0, 1], [2, 3]]
