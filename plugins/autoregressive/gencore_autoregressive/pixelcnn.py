"""PixelCNN (van den Oord, Kalchbrenner & Kavukcuoglu 2016, "Pixel Recurrent Neural Networks", arXiv:1601.06759).

    p(x) = prod_i p(x_i | x_1 ... x_(i-1)),  i in raster order                                     (equation 1)
    p(x_i | x_<i) = p(R | x_<i) p(G | x_<i, R) p(B | x_<i, R, G)                                   (equation 2)
with a softmax over the levels of each number (section 2.2), by convolutions masked towards the future (sections 3.4,
3.5): 7 x 7 of kind A, then residual blocks of ReLU, 1 x 1, 3 x 3, 1 x 1 of kind B (figure 5, left).

As in the paper, some pixels above to the right stay unseen (see gated-pixelcnn).

Deviations: small; Adam where the paper has RMSprop.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Paper, Recipe, SystemSpec
from gencore.nn.causal import Apply
from gencore.nn.masked import MaskedConv2d
from gencore_autoregressive.parts.likelihood import one_stage
from gencore_autoregressive.parts.pixels import StackConfig
from gencore_autoregressive.parts.raster import RasterDensity

SYSTEM = SystemSpec(
    name="pixelcnn",
    summary="Masked convolutions: each pixel from those before it, an exact density",
    paper=Paper(
        title="Pixel Recurrent Neural Networks",
        authors="van den Oord, Kalchbrenner & Kavukcuoglu",
        year=2016,
        arxiv="1601.06759",
    ),
    model="PixelCNN",
    recipe="pixelcnn",
    roles=("sampler",),
    traits=("log-prob",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"width": 4, "layers": 2, "batch_size": 8},
)


class MaskedBlock(nn.Module):
    """ReLU, 1 x 1 from 2 h to h channels, ReLU, masked 3 x 3, ReLU."""

    def __init__(self, hidden: int, colours: int) -> None:
        super().__init__()
        self.reduce = MaskedConv2d("B", 2 * hidden, hidden, 1, colours=colours)
        self.conv = MaskedConv2d("B", hidden, hidden, 3, colours=colours)

    def body(self, x: Tensor, apply: Apply) -> Tensor:
        """(N, 2 h, H, W) -> (N, h, H, W)."""
        return F.relu(apply(self.conv, F.relu(self.reduce(F.relu(x)))))


class PixelCNN(RasterDensity):
    """The density of pictures whose context is a stack of masked convolutions."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__(config, MaskedBlock)


CONFIG = StackConfig()


def pixelcnn(
    *, config: StackConfig = CONFIG, steps: int = 1500, batch_size: int = 64, learning_rate: float = 1e-3
) -> Recipe:
    """One phase, one stage."""
    stages = one_stage(steps=steps, learning_rate=learning_rate)
    return Recipe(name="pixelcnn", model=PixelCNN, config=config, stages=stages, batch_size=batch_size)
