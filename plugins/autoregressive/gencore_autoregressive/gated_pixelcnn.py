"""Gated PixelCNN (van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders", arXiv:1606.05328).

    p(x | h) = prod_i p(x_i | x_1 ... x_(i-1), h)                                                  (equation 3)
    y = tanh(W_f * x + V_f h) . sigmoid(W_g * x + V_g h)                                           (equation 4)
with the two stacks of gencore.nn.causal_gated, which leave no blind spot (section 2.2, figure 1), and h the class, or
maps of the picture's size (section 2.3). The density is that of gencore_autoregressive.pixelcnn.

The model is also the prior of vq-vae and the decoder of pixel-vae (gencore.densities), as in section 2.4.

Deviations: small; Adam where the paper has RMSprop.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor

from gencore import Paper, Recipe, SystemSpec
from gencore.conditions import ClassLabel, Condition, Image
from gencore.config import check
from gencore.nn.causal_gated import GatedPixelNetwork
from gencore.nn.labels import one_hot
from gencore_autoregressive.parts.embedded import inputs, over_levels
from gencore_autoregressive.parts.heads import Softmax
from gencore_autoregressive.parts.likelihood import one_stage
from gencore_autoregressive.parts.pixels import PixelDensity, StackConfig

SYSTEM = SystemSpec(
    name="gated-pixelcnn",
    summary="Gated masked convolutions in two stacks, without a blind spot, of a class if there are classes",
    paper=Paper(
        title="Conditional Image Generation with PixelCNN Decoders",
        authors="van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves & Kavukcuoglu",
        year=2016,
        arxiv="1606.05328",
    ),
    model="GatedPixelCNN",
    recipe="gated_pixelcnn",
    roles=("sampler",),
    traits=("log-prob",),
    claims=("compiles", "exact-data-parallel", "conditional"),
    tiny={"width": 4, "layers": 2, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GatedPixelConfig(StackConfig):
    """One of `num_classes`, for the class of each picture, and `input_shape`, for maps (M, height, width) that it is
    made from, or neither."""

    num_classes: int | None = None
    input_shape: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        check(self.num_classes is None or self.num_classes > 0, "num_classes", self.num_classes, "null or at least 1")
        if (shape := self.input_shape) is not None:
            height, width = self.data_shape[1:]
            fits = shape[0] > 0 and shape[1:] == (height, width)
            check(fits, "input_shape", shape, f"(maps, {height}, {width}), as large as the pictures")
            one = "null beside an input_shape: one condition (--condition none leaves the labels out)"
            check(self.num_classes is None, "num_classes", self.num_classes, one)


class GatedPixelCNN(PixelDensity):
    """The density of pictures, of pictures of each class, or given maps."""

    config_class = GatedPixelConfig
    config: GatedPixelConfig

    def __init__(self, config: GatedPixelConfig) -> None:
        channels, head = config.data_shape[0], Softmax(config.levels)
        network = GatedPixelNetwork(
            inputs(channels, config.embedding),
            head.outputs(channels),
            width=config.width,
            layers=config.layers,
            colours=channels,
            vector=config.num_classes or 0,
            maps=config.input_shape[0] if config.input_shape else 0,
        )
        embedded = over_levels(network, channels=channels, levels=config.levels, size=config.embedding)
        super().__init__(config, embedded, head)

    @property
    def condition(self) -> Condition | None:
        """The class or the maps, where there are such."""
        if self.config.input_shape:
            return Image(shape=self.config.input_shape)
        return ClassLabel(count=self.config.num_classes) if self.config.num_classes else None

    def context(self, condition: Tensor | None) -> tuple[Tensor | None, ...]:
        """The class as a one-hot vector, or the maps."""
        if condition is None:
            return ()
        weight = next(self.network.parameters())
        if self.config.input_shape:
            return None, condition.to(weight)
        assert self.config.num_classes is not None
        return (one_hot(condition, self.config.num_classes, condition).to(weight),)


def gated_pixelcnn(
    *,
    config: GatedPixelConfig = GatedPixelConfig(layers=5),
    steps: int = 1500,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
) -> Recipe:
    """One phase, one stage."""
    stages = one_stage(steps=steps, learning_rate=learning_rate)
    return Recipe(name="gated-pixelcnn", model=GatedPixelCNN, config=config, stages=stages, batch_size=batch_size)
