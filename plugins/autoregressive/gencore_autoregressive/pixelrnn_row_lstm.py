"""PixelRNN with Row LSTM (van den Oord, Kalchbrenner & Kavukcuoglu 2016, "Pixel Recurrent Neural Networks",
arXiv:1601.06759).

    [o_i, f_i, i_i, g_i] = sigma(K_ss * h_(i-1) + K_is * x_i)                                      (equation 3)
    c_i = f_i . c_(i-1) + i_i . g_i,   h_i = o_i . tanh(c_i)
for row i as a whole, sigma being tanh for g: K_ss a convolution of size 3 over the row above, K_is one of size 3 along
the row, masked as kind B (section 3.1). A pixel sees a triangle above it, not what lies farther to the sides. Layers
are added to their input (section 3.3).

The density and its skeleton are those of gencore_autoregressive.pixelcnn.

Deviations: small; Adam where the paper has RMSprop.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Paper, Recipe, SystemSpec
from gencore.nn.causal import Apply
from gencore_autoregressive.parts.likelihood import one_stage
from gencore_autoregressive.parts.pixels import StackConfig
from gencore_autoregressive.parts.raster import RasterDensity, cell, input_to_state

SYSTEM = SystemSpec(
    name="pixelrnn-row-lstm",
    summary="An LSTM down the rows, all columns at once: each pixel from a triangle above it",
    paper=Paper(
        title="Pixel Recurrent Neural Networks",
        authors="van den Oord, Kalchbrenner & Kavukcuoglu",
        year=2016,
        arxiv="1601.06759",
    ),
    model="RowLSTMDensity",
    recipe="pixelrnn_row_lstm",
    roles=("sampler",),
    traits=("log-prob",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"width": 4, "layers": 2, "batch_size": 8},
)


class RowLSTM(nn.Module):
    """Pictures (N, 2 h, H, W) -> (N, h, H, W)."""

    def __init__(self, hidden: int, colours: int) -> None:
        super().__init__()
        self.input_to_state = input_to_state(hidden, (1, 3), colours)
        self.state_to_state = nn.Conv1d(hidden, 4 * hidden, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Row by row."""
        gates = self.input_to_state(x)
        hidden = carried = x.new_zeros(x.shape[0], self.state_to_state.in_channels, x.shape[3])
        rows = []
        for row in gates.unbind(2):
            hidden, carried = cell(row + self.state_to_state(hidden), carried)
            rows.append(hidden)
        return torch.stack(rows, 2)

    def body(self, x: Tensor, apply: Apply) -> Tensor:
        """x: all of a picture, or one pixel of it."""
        return apply(self, x)

    def start(self, count: int, height: int, width: int) -> RowMemory:
        """For `count` pictures that are drawn pixel by pixel."""
        return RowMemory(self, count, height, width)


class RowMemory:
    """The state of the row above and, so far, of this one."""

    def __init__(self, layer: RowLSTM, count: int, height: int, width: int) -> None:
        self.input_to_state = layer.input_to_state.start(count, height, width)
        self.weight = layer.state_to_state.weight
        self.hidden = self.weight.new_zeros(2, count, layer.state_to_state.in_channels, width + 2)  # padded by 1
        self.carried = torch.zeros_like(self.hidden)
        self.row = 0

    def step(self, value: Tensor, row: int, column: int) -> Tensor:
        """value (N, 2 h, 1, 1) -> (N, h, 1, 1)."""
        if row != self.row:
            self.hidden, self.carried, self.row = self.hidden.flip(0), self.carried.flip(0), row
        above, here = self.hidden
        gates = self.input_to_state.step(value, row, column)[:, :, 0, 0]
        gates = gates + F.conv1d(above[:, :, column : column + 3], self.weight)[:, :, 0]
        here[:, :, column + 1], self.carried[1, :, :, column + 1] = cell(gates, self.carried[0, :, :, column + 1])
        return here[:, :, column + 1, None, None]


class RowLSTMDensity(RasterDensity):
    """The density of pictures whose context is a stack of Row LSTMs."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__(config, RowLSTM)


CONFIG = StackConfig(layers=3)


def pixelrnn_row_lstm(
    *, config: StackConfig = CONFIG, steps: int = 1000, batch_size: int = 64, learning_rate: float = 2e-3
) -> Recipe:
    """One phase, one stage."""
    stages = one_stage(steps=steps, learning_rate=learning_rate)
    return Recipe(name="pixelrnn-row-lstm", model=RowLSTMDensity, config=config, stages=stages, batch_size=batch_size)
