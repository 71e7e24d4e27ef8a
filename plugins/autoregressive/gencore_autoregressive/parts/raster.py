"""The skeleton of the three networks of "Pixel Recurrent Neural Networks" (van den Oord, Kalchbrenner & Kavukcuoglu
2016, arXiv:1601.06759, table 1), and their LSTM cell.

A masked 7 x 7 convolution of kind A; layers, each added to its input (section 3.3, figure 5); then ReLU and a 1 x 1
convolution of kind B, twice. Hidden maps have 2 h channels, what is inside of a layer h. With C channels a C-th of
every map goes with each (section 3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore.nn.causal import Apply, Memories, whole
from gencore.nn.masked import MaskedConv2d
from gencore_autoregressive.parts.embedded import inputs, over_levels
from gencore_autoregressive.parts.heads import Softmax
from gencore_autoregressive.parts.pixels import PixelDensity, StackConfig


class Residual(nn.Module):
    """x + a 1 x 1 convolution of what `inner.body(x, apply)` makes of x, 2 h -> h channels."""

    def __init__(self, inner: nn.Module, hidden: int, colours: int) -> None:
        super().__init__()
        self.inner = inner
        self.expand = MaskedConv2d("B", hidden, 2 * hidden, 1, colours=colours)

    def body(self, x: Tensor, apply: Apply) -> Tensor:
        """x (N, 2 h, H, W) -> the same shape."""
        return x + self.expand(self.inner.body(x, apply))  # type: ignore[operator]


class RasterNetwork(nn.Module):
    """Maps of pictures (N, inputs, H, W) -> (N, outputs, H, W), both split evenly among the `colours`; `layer` makes
    an inner layer of 2 h -> h channels."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int,
        layers: int,
        layer: Callable[[int, int], nn.Module],
        colours: int,
    ) -> None:
        super().__init__()
        self.first = MaskedConv2d("A", inputs, 2 * width, 7, colours=colours)
        self.layers = nn.ModuleList(Residual(layer(width, colours), width, colours) for _ in range(layers - 1))
        self.hidden = MaskedConv2d("B", 2 * width, 2 * width, 1, colours=colours)
        self.output = MaskedConv2d("B", 2 * width, outputs, 1, colours=colours, copies=outputs // colours)

    def forward(self, x: Tensor) -> Tensor:
        """All pixels at once."""
        return self.body(x, whole)

    def body(self, x: Tensor, apply: Apply) -> Tensor:
        """x: all of a picture, or one pixel of it."""
        x = apply(self.first, x)
        for layer in self.layers:
            x = layer.body(x, apply)  # type: ignore[operator]
        return self.output(F.relu(self.hidden(F.relu(x))))

    def start(self, count: int, height: int, width: int) -> RasterSteps:
        """For `count` pictures that are drawn pixel by pixel."""
        return RasterSteps(self, count, height, width)


class RasterSteps:
    """One pixel at a time."""

    def __init__(self, network: RasterNetwork, count: int, height: int, width: int) -> None:
        self.network, self.memories = network, Memories(count, height, width)

    def at(self, x: Tensor, row: int, column: int) -> Tensor:
        """x (N, C, H, W), drawn so far -> (N, outputs, 1, 1)."""
        return self.network.body(x[:, :, row : row + 1, column : column + 1], self.memories.at(row, column))

    def put(self, x: Tensor, row: int, column: int) -> None:
        """All channels of x are drawn at that pixel."""
        memory: Any = self.memories.get(self.network.first)
        memory.write(x[:, :, row : row + 1, column : column + 1], row, column)


def cell(gates: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
    """gates (N, 4 h, ...), four in a row for each of h channels, and the carried state (N, h, ...) -> (h, c).

    c = f . c' + i . g,  h = o . tanh(c)                                                          (equation 3)
    """
    out, forget, let_in, new = rearrange(gates, "n (h four) ... -> four n h ...", four=4)
    carried = forget.sigmoid() * carried + let_in.sigmoid() * new.tanh()
    return out.sigmoid() * carried.tanh(), carried


def input_to_state(hidden: int, kernel_size: int | tuple[int, int], colours: int) -> MaskedConv2d:
    """K_is, of kind B: (N, 2 h, H, W) -> the gates of `cell`, (N, 4 h, H, W).

    The forget gates begin at sigmoid(1), not 1/2 (Jozefowicz et al. 2015, "An Empirical Exploration of Recurrent
    Network Architectures"), or what is six places away does not come through. The paper says nothing of it.
    """
    conv = MaskedConv2d("B", 2 * hidden, 4 * hidden, kernel_size, colours=colours, copies=4)
    assert conv.bias is not None
    conv.bias.data.view(hidden, 4)[:, 1] = 1.0
    return conv


class RasterDensity(PixelDensity):
    """The density of pictures by this network, with a softmax over the levels of each number."""

    config_class = StackConfig
    config: StackConfig

    def __init__(self, config: StackConfig, layer: Callable[[int, int], nn.Module]) -> None:
        channels, head = config.data_shape[0], Softmax(config.levels)
        network = RasterNetwork(
            inputs(channels, config.embedding),
            head.outputs(channels),
            width=config.width,
            layers=config.layers,
            layer=layer,
            colours=channels,
        )
        embedded = over_levels(network, channels=channels, levels=config.levels, size=config.embedding)
        super().__init__(config, embedded, head)
