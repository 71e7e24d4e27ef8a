"""PixelRNN with Diagonal BiLSTM (van den Oord, Kalchbrenner & Kavukcuoglu 2016, "Pixel Recurrent Neural Networks",
arXiv:1601.06759).

    [o, f, i, g] = sigma(K_ss * h' + K_is * x),   c = f . c' + i . g,   h = o . tanh(c)            (equation 3)
along the diagonals (section 3.2): row i of the picture is moved i places to the right, so that a column holds a
diagonal; K_is is 1 x 1 of kind B, K_ss a convolution of size 2 x 1 over the column before, which are the pixels to the
left and above. A second LSTM goes the other way, from the right; its output is moved one row down before the two are
added, or it would see the future. So a layer sees all of its input before a place. Layers are added to their input
(section 3.3). Of the picture one pixel may be missed: what the first layer puts at a place leaves that place out, so
the last pixel of the row above is seen only where the 7 x 7 of the first layer reaches it.

The density and its skeleton are those of gencore_autoregressive.pixelcnn.

Deviations: small; Adam where the paper has RMSprop.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Paper, Recipe, SystemSpec
from gencore.nn.causal import Apply
from gencore.nn.masked import one_row_down
from gencore_autoregressive.parts.likelihood import one_stage
from gencore_autoregressive.parts.pixels import StackConfig
from gencore_autoregressive.parts.raster import RasterDensity, cell, input_to_state

SYSTEM = SystemSpec(
    name="pixelrnn-diagonal-bilstm",
    summary="Two LSTMs along the diagonals: each pixel from all those before it",
    paper=Paper(
        title="Pixel Recurrent Neural Networks",
        authors="van den Oord, Kalchbrenner & Kavukcuoglu",
        year=2016,
        arxiv="1601.06759",
    ),
    model="DiagonalDensity",
    recipe="pixelrnn_diagonal_bilstm",
    roles=("sampler",),
    traits=("log-prob",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"width": 4, "layers": 2, "batch_size": 8},
)


def skew(x: Tensor) -> Tensor:
    """x (N, C, H, W) -> (N, C, H, W + H - 1), row i moved i places to the right, zeros around it."""
    height, width = x.shape[2:]
    padded = F.pad(x, (0, height)).flatten(2)
    return padded[:, :, : height * (width + height - 1)].unflatten(2, (height, width + height - 1))


def unskew(x: Tensor) -> Tensor:
    """The inverse of `skew`: (N, C, H, W + H - 1) -> (N, C, H, W)."""
    height, columns = x.shape[2:]
    padded = F.pad(x.flatten(2), (0, height))
    return padded.unflatten(2, (height, columns + 1))[..., : columns - height + 1]


class DiagonalLSTM(nn.Module):
    """Pictures (N, 2 h, H, W) -> (N, h, H, W), from the upper left to the lower right."""

    def __init__(self, hidden: int, colours: int) -> None:
        super().__init__()
        self.input_to_state = input_to_state(hidden, 1, colours)
        self.state_to_state = nn.Conv1d(hidden, 4 * hidden, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Diagonal by diagonal. Left of the picture and above it the states are zero, as the skewed gates are there."""
        gates = skew(self.input_to_state(x))
        hidden = carried = x.new_zeros(x.shape[0], self.state_to_state.in_channels, x.shape[2])
        columns = []
        for column in gates.unbind(3):
            hidden, carried = cell(column + self.state_to_state(F.pad(hidden, (1, 0))), carried)
            columns.append(hidden)
        return unskew(torch.stack(columns, 3))


class DiagonalBiLSTM(nn.Module):
    """Both directions, added."""

    def __init__(self, hidden: int, colours: int) -> None:
        super().__init__()
        self.from_left, self.from_right = DiagonalLSTM(hidden, colours), DiagonalLSTM(hidden, colours)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2 h, H, W) -> (N, h, H, W)."""
        return self.from_left(x) + one_row_down(self.from_right(x.flip(3)).flip(3))

    def body(self, x: Tensor, apply: Apply) -> Tensor:
        """x: all of a picture, or one pixel of it."""
        return apply(self, x)

    def start(self, count: int, height: int, width: int) -> DiagonalMemory:
        """For `count` pictures that are drawn pixel by pixel."""
        return DiagonalMemory(self, count, width)


class Row:
    """One direction's states: of the row above, and of the pixel before."""

    def __init__(self, layer: DiagonalLSTM, count: int, width: int) -> None:
        self.layer = layer
        self.above = layer.state_to_state.weight.new_zeros(count, layer.state_to_state.in_channels, width)
        self.begin()

    def begin(self) -> None:
        """A new row, or this one anew."""
        self.here = torch.zeros_like(self.above)
        self.carried = torch.zeros_like(self.above)

    def step(self, value: Tensor, column: int) -> Tensor:
        """value (N, 2 h, 1, 1), the input at that column -> h (N, h)."""
        zero = torch.zeros_like(self.above[:, :, 0])
        before, carried = (self.here[:, :, column - 1], self.carried[:, :, column - 1]) if column else (zero, zero)
        states = torch.stack([self.above[:, :, column], before], 2)
        gates = self.layer.input_to_state(value)[:, :, 0, 0] + self.layer.state_to_state(states)[:, :, 0]
        self.here[:, :, column], self.carried[:, :, column] = cell(gates, carried)
        return self.here[:, :, column]


class DiagonalMemory:
    """Both directions; the one from the right goes over a row when all of it is there."""

    def __init__(self, layer: DiagonalBiLSTM, count: int, width: int) -> None:
        self.left, self.right = (Row(one, count, width) for one in (layer.from_left, layer.from_right))
        self.inputs: list[Tensor] = [layer.from_left.state_to_state.weight.new_zeros(0)] * width
        self.row = 0

    def step(self, value: Tensor, row: int, column: int) -> Tensor:
        """value (N, 2 h, 1, 1) -> (N, h, 1, 1)."""
        if row != self.row:
            for place, earlier in enumerate(reversed(self.inputs)):
                self.right.step(earlier, place)
            for direction in (self.left, self.right):
                direction.above = direction.here
                direction.begin()
            self.row = row
        self.inputs[column] = value
        from_right = self.right.above.flip(2)[:, :, column]  # zero in row 0
        return (self.left.step(value, column) + from_right)[:, :, None, None]


class DiagonalDensity(RasterDensity):
    """The density of pictures whose context is a stack of Diagonal BiLSTMs."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__(config, DiagonalBiLSTM)


CONFIG = StackConfig(layers=3)


def pixelrnn_diagonal_bilstm(
    *, config: StackConfig = CONFIG, steps: int = 600, batch_size: int = 64, learning_rate: float = 2e-3
) -> Recipe:
    """One phase, one stage."""
    stages = one_stage(steps=steps, learning_rate=learning_rate)
    return Recipe(
        name="pixelrnn-diagonal-bilstm", model=DiagonalDensity, config=config, stages=stages, batch_size=batch_size
    )
