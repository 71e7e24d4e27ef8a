"""PixelCNN++ (Salimans, Karpathy, Chen & Kingma 2017, "PixelCNN++: Improving the PixelCNN with Discretized Logistic
Mixture Likelihood and Other Modifications", arXiv:1701.05517).

    P(x) = sum_i pi_i [sigmoid((x + b - mu_i) / s_i) - sigmoid((x - b - mu_i) / s_i)]              (equation 2)
b half the distance of two levels, and x - b is -infinity at the lowest level, x + b infinity at the highest. One
network output for the whole pixel, whose later channels have means that move with the earlier ones (equation 3):
    mu_i,g = m_g + alpha x_r,   mu_i,b = m_b + beta x_r + gamma x_g
Two streams with strides, short-cuts and dropout (sections 2.3 to 2.6): gencore_autoregressive.parts.two_streams.

Deviations: small; each level has as many blocks up as down, and grows by 2 x 2 transposed convolutions; Adam without
averaged weights. The difference of sigmoids is taken by sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b-a)),
exact where it underflows, so the authors' approximation by the density is not needed. A draw takes the levels'
probabilities one channel after the other, where theirs draws a component, a logistic number, and rounds: the same
distribution.
"""

from __future__ import annotations

import dataclasses

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from gencore import Paper, Recipe, SystemSpec
from gencore.config import check
from gencore.nn.levels import from_levels
from gencore_autoregressive.parts.likelihood import one_stage
from gencore_autoregressive.parts.pixels import PixelConfig, PixelDensity
from gencore_autoregressive.parts.two_streams import TwoStreams

SYSTEM = SystemSpec(
    name="pixelcnn-plus-plus",
    summary="Mixtures of discretised logistics for whole pixels, from two streams with strides and short-cuts",
    paper=Paper(
        title="PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other Modifications",
        authors="Salimans, Karpathy, Chen & Kingma",
        year=2017,
        arxiv="1701.05517",
    ),
    model="PixelCNNPlusPlus",
    recipe="pixelcnn_plus_plus",
    roles=("sampler",),
    traits=("log-prob",),
    claims=("compiles",),
    tiny={"width": 4, "blocks": 1, "mixtures": 2, "batch_size": 8},
)

LOWEST_LOG_SCALE = -7.0
"""The authors' floor: e^-7 is a quarter of a level of 8 bits."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlusPlusConfig(PixelConfig):
    """`blocks` at each level, each way, and `downsamplings` levels of half the size below the first."""

    blocks: int = 1
    downsamplings: int = 1
    mixtures: int = 5
    dropout: float = 0.0

    def __post_init__(self) -> None:
        PixelConfig.__post_init__(self)
        for name in ("blocks", "mixtures"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        check(self.downsamplings >= 0, "downsamplings", self.downsamplings, "0 or more")
        check(0 <= self.dropout < 1, "dropout", self.dropout, "a share in [0, 1)")
        factor = 2**self.downsamplings
        check(
            all(side % factor == 0 for side in self.data_shape[1:]),
            "data_shape",
            self.data_shape,
            f"sides that are multiples of {factor}, for {self.downsamplings} downsamplings: lower these, or resize",
        )


def level_log_prob(codes: Tensor, levels: int, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log of the logistic's mass on each level: codes int64, mean and log_scale, of shapes that broadcast; nats."""
    inverse, half = torch.exp(-log_scale), 1 / (levels - 1)
    centred = codes.to(mean.dtype) * (2 * half) - 1 - mean
    lower, upper = inverse * (centred - half), inverse * (centred + half)
    below = F.logsigmoid(upper).masked_fill(codes == levels - 1, 0)
    above = F.logsigmoid(-lower).masked_fill(codes == 0, 0)
    inside = torch.log(-torch.expm1(-2 * half * inverse))
    edge = (codes == 0) | (codes == levels - 1)
    return below + above + torch.where(edge, 0, inside)


@dataclasses.dataclass(frozen=True, slots=True)
class LogisticMixture:
    """gencore_autoregressive.parts.heads.Head: one mixture for all channels of a pixel."""

    levels: int
    mixtures: int

    def outputs(self, channels: int) -> int:
        """Of each component: its weight; of each channel a mean and a log-scale; of each pair of channels a slope."""
        return self.mixtures * (1 + 2 * channels + channels * (channels - 1) // 2)

    def component(self, out: Tensor, codes: Tensor, channel: int, of: Tensor) -> Tensor:
        """log p(channel = `of` | earlier channels, component): codes (N, C, H, W), of (N or 1, 1, K, H, W) int64 ->
        (N, mixtures, K, H, W)."""
        channels = codes.shape[1]
        numbers = rearrange(out, "n (p m) h w -> p n m 1 h w", m=self.mixtures)
        mean, log_scale = numbers[1 + channel], numbers[1 + channels + channel].clamp_min(LOWEST_LOG_SCALE)
        first = 1 + 2 * channels + channel * (channel - 1) // 2
        earlier = from_levels(codes, self.levels).to(out.dtype)
        for before in range(channel):
            mean = mean + torch.tanh(numbers[first + before]) * earlier[:, before, None, None]
        return level_log_prob(of, self.levels, mean, log_scale)

    def joint(self, out: Tensor, codes: Tensor, channels: int) -> Tensor:
        """log of (component's weight, times the mass of the first so many channels), (N, mixtures, 1, H, W)."""
        total = out[:, : self.mixtures, None].log_softmax(1)
        for channel in range(channels):
            total = total + self.component(out, codes, channel, codes[:, None, channel : channel + 1])
        return total

    def log_prob(self, out: Tensor, codes: Tensor) -> Tensor:
        """The mixture of whole pixels, summed over them."""
        return self.joint(out, codes, codes.shape[1]).logsumexp(1).flatten(1).sum(1)

    def conditional(self, out: Tensor, codes: Tensor, channel: int) -> Tensor:
        """Every level of the channel, weighted by how well each component explains the channels before."""
        every = torch.arange(self.levels, device=out.device)[None, None, :, None, None]
        mass = self.component(out, codes, channel, every)
        return (self.joint(out, codes, channel) + mass).logsumexp(1)


class PixelCNNPlusPlus(PixelDensity):
    """The density of pictures by mixtures of discretised logistics."""

    config_class = PlusPlusConfig
    config: PlusPlusConfig

    def __init__(self, config: PlusPlusConfig) -> None:
        channels, head = config.data_shape[0], LogisticMixture(config.levels, config.mixtures)
        network = TwoStreams(
            channels,
            head.outputs(channels),
            width=config.width,
            blocks=config.blocks,
            downsamplings=config.downsamplings,
            dropout=config.dropout,
        )
        super().__init__(config, network, head)


CONFIG = PlusPlusConfig(width=24)


def pixelcnn_plus_plus(
    *, config: PlusPlusConfig = CONFIG, steps: int = 800, batch_size: int = 64, learning_rate: float = 1e-3
) -> Recipe:
    """One phase, one stage."""
    stages = one_stage(steps=steps, learning_rate=learning_rate)
    return Recipe(
        name="pixelcnn-plus-plus", model=PixelCNNPlusPlus, config=config, stages=stages, batch_size=batch_size
    )
