"""PixelRNN with Diagonal BiLSTM: skewing, all of the past, and far to the right. See test_densities.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gencore_autoregressive.pixelrnn_diagonal_bilstm import DiagonalBiLSTM, skew, unskew
from tests.plugins.autoregressive.densities import bits, coins, fresh, nats, switched_off, trained, trained_model
from tests.plugins.autoregressive.sight import before, seen
from tests.plugins.default_sampler import draws_nearer


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


@pytest.mark.behaviour
def test_diagonal_bilstm_sees_the_far_right(measured: Any) -> None:
    """Each row begins with a coin that stands near the right end of the row above, out of the convolutions' reach: 4
    coins are 2.77 nats, with the 3 repeated ones 4.85. Twin: no LSTM from the right.
    Nats lost at seed 0 after 180 steps: 0.50, twin 2.10; after 300: 0.12."""
    generator = torch.Generator().manual_seed(0)

    def data(count: int) -> Tensor:
        coin, x = coins(generator, count, 1, 4), torch.zeros(count, 1, 4, 7)
        x[:, :, :, 5], x[:, :, 1:, 0] = coin, coin[:, :, :3]
        return x

    arguments: dict[str, Any] = {"data_shape": (1, 4, 7), "levels": 3, "width": 16, "layers": 2}
    x, y = data(2000), data(300)
    name, rate = "pixelrnn-diagonal-bilstm", 1e-2
    page = trained(name, x, steps=220, seed=0, **arguments, learning_rate=rate)
    draws_nearer(page, y)
    figure = nats(page, y) - bits(4)
    without = fresh(name, 0, **arguments)
    switched_off(*(layer.inner.from_right for layer in without.network.layers))
    twin = nats(trained_model(without, x, steps=220, seed=0, learning_rate=rate), y) - bits(4)
    measured(name, "nats lost on 3 far coins", figure=figure, twin=twin, bar=1.0, better="lower", seed=0)
