"""What a pixel sees: the blind spot of PixelCNN, the triangle of Row LSTM, everything for the two others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gencore.nn.causal_gated import GatedPixelNetwork
from gencore.nn.masked import MaskedConv2d
from gencore_autoregressive.parts.raster import RasterNetwork
from gencore_autoregressive.pixelcnn import MaskedBlock
from gencore_autoregressive.pixelrnn_diagonal_bilstm import DiagonalBiLSTM, skew, unskew
from gencore_autoregressive.pixelrnn_row_lstm import RowLSTM


def seen(network: Callable[[Tensor], Tensor], size: tuple[int, int], place: tuple[int, int]) -> Tensor:
    """(H, W) bool: the pixels that the output at a place has a gradient of, of one or more channels."""
    x = torch.randn(1, 2, *size, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x)[0, :, place[0], place[1]].sum(), x)
    return gradient[0].abs().sum(0) > 0


def before(size: tuple[int, int], place: tuple[int, int], *, itself: bool) -> Tensor:
    """(H, W) bool: the pixels before a place in raster order."""
    number = torch.arange(size[0] * size[1]).view(size)
    return number < place[0] * size[1] + place[1] + itself


def plain(first: int, layers: int) -> nn.Sequential:
    """Masked convolutions alone, 3 x 3 after the first."""
    others = (MaskedConv2d("B", 4, 4, 3) for _ in range(layers - 1))
    return nn.Sequential(MaskedConv2d("A", 2, 4, first), *others).double()


def missed(network: Callable[[Tensor], Tensor], size: int, place: tuple[int, int]) -> int:
    """How many of the pixels before a place it does not see; it must see no other."""
    torch.manual_seed(0)
    found, past = seen(network, (size, size), place), before((size, size), place, itself=False)
    assert not (found & ~past).any()
    return int((past & ~found).sum())


def test_the_blind_spot() -> None:
    """Of 11 x 11 pixels at (8, 5), 14 layers: 10 to the right above are missed, 3 with a first layer of 7 x 7. The
    gated stacks miss none (figure 1 of arXiv:1606.05328)."""
    assert missed(plain(3, 14), 11, (8, 5)) == 10
    assert missed(plain(7, 14), 11, (8, 5)) == 3
    torch.manual_seed(1)
    gated = GatedPixelNetwork(2, 2, width=4, layers=14, first_kernel_size=3).double()
    assert missed(gated, 11, (8, 5)) == 0


def test_the_page_has_the_blind_spot_of_its_kernels() -> None:
    torch.manual_seed(1)
    network = RasterNetwork(2, 2, width=8, layers=14, layer=MaskedBlock).double()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.rand_like(parameter)  # ReLUs that are open
    assert missed(lambda x: network(x)[:, :1], 11, (8, 5)) == 3  # the first channel: the second sees it


@pytest.mark.parametrize("place", [(0, 0), (2, 3), (4, 0), (4, 6)])
def test_row_lstm_sees_a_triangle(place: tuple[int, int]) -> None:
    """Rows above within as many columns as rows, and of its row itself and the pixel to the left."""
    torch.manual_seed(0)
    row, column = torch.meshgrid(torch.arange(5), torch.arange(7), indexing="ij")
    up, aside = place[0] - row, column - place[1]
    # K_is reaches one pixel to the left from each row that K_ss reaches.
    triangle = ((up >= 0) & (aside <= up) & (aside >= -up - 1)) & ((up > 0) | (aside <= 0))
    found = seen(RowLSTM(1, 1).double(), (5, 7), place)
    assert torch.equal(found, triangle)


@pytest.mark.parametrize("size", [(5, 7), (6, 4), (1, 3), (4, 1)])
def test_diagonal_bilstm_sees_all_of_the_past(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = DiagonalBiLSTM(1, 1).double()
    for row in range(size[0]):
        for column in range(size[1]):
            found = seen(layer, size, (row, column))
            assert torch.equal(found, before(size, (row, column), itself=True)), (row, column)


@pytest.mark.parametrize("size", [(3, 5), (5, 3), (1, 4), (4, 1)])
def test_skew(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    skewed = skew(x)
    assert skewed.shape == (2, 3, size[0], size[0] + size[1] - 1)
    assert torch.equal(unskew(skewed), x)
    for row in range(size[0]):
        assert torch.equal(skewed[:, :, row, row : row + size[1]], x[:, :, row])
    assert skewed.count_nonzero() == x.count_nonzero()


def test_an_lstm_by_hand() -> None:
    """One row of two pixels and one below, h = 1, all weights 1 and biases 0: Row LSTM in float64 by the formula."""
    layer = RowLSTM(1, 1).double()
    for parameter in layer.parameters():
        parameter.data.fill_(1.0)
    assert layer.input_to_state.bias is not None
    layer.input_to_state.bias.data.zero_()
    x = torch.tensor([[0.3, -0.2], [0.1, 0.5]], dtype=torch.float64).expand(1, 2, 2, 2)

    def state(gate: Tensor, carried: Tensor | float) -> tuple[Tensor, Tensor]:
        new = torch.sigmoid(gate) * carried + torch.sigmoid(gate) * torch.tanh(gate)
        return torch.sigmoid(gate) * torch.tanh(new), new

    first = torch.tensor([2 * 0.3, 2 * (0.3 - 0.2)], dtype=torch.float64)  # two equal channels, the pixel and its left
    hidden, carried = state(first, 0.0)
    second = torch.tensor([2 * 0.1, 2 * (0.1 + 0.5)], dtype=torch.float64) + hidden.sum()
    expected = torch.stack([hidden, state(second, carried)[0]])
    torch.testing.assert_close(layer(x)[0, 0], expected)
