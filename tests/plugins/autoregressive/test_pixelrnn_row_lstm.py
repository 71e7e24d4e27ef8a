"""PixelRNN with Row LSTM: its triangle, its cell by hand, and a row carried down. See test_densities.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gencore_autoregressive.pixelrnn_row_lstm import RowLSTM
from tests.plugins.autoregressive.densities import bits, coins, fresh, nats, switched_off, trained, trained_model
from tests.plugins.autoregressive.sight import seen
from tests.plugins.default_sampler import draws_nearer


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


@pytest.mark.behaviour
def test_row_lstm_carries_a_row_down_and_aside(measured: Any) -> None:
    """The last of four rows is the first one moved five places, where neither the convolutions nor a state that stays
    in its column reach: 12 coins are 8.32 nats, with 7 more 13.17. Twin: no K_ss.
    Nats lost at seed 0: 0.03, twin 5.47."""
    generator = torch.Generator().manual_seed(0)

    def data(count: int) -> Tensor:
        x = -torch.ones(count, 1, 4, 12)
        x[:, :, 0] = coins(generator, count, 1, 12)
        x[:, :, 3, 5:] = x[:, :, 0, :7]
        return x

    arguments: dict[str, Any] = {"data_shape": (1, 4, 12), "levels": 2, "width": 16, "layers": 2}
    x, y = data(2000), data(300)
    name, rate = "pixelrnn-row-lstm", 1e-2
    page = trained(name, x, steps=200, seed=0, **arguments, learning_rate=rate)
    draws_nearer(page, y)
    figure = nats(page, y) - bits(12)
    without = fresh(name, 0, **arguments)
    switched_off(*(layer.inner.state_to_state for layer in without.network.layers))
    twin = nats(trained_model(without, x, steps=200, seed=0, learning_rate=rate), y) - bits(12)
    measured(name, "nats lost on 7 far coins", figure=figure, twin=twin, bar=1.0, better="lower", seed=0)
