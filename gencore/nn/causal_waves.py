"""WaveNet's network (van den Oord et al. 2016, "WaveNet: A Generative Model for Raw Audio", arXiv:1609.03499).

    z = tanh(W_f * x + V_f h) . sigmoid(W_g * x + V_g h)                                    (equation 2 and section 2.5)
with * a causal convolution of size 2, its dilation doubling from layer to layer, then beginning anew; each layer adds
to its input and to a sum that the output reads (figure 4). h is a vector (global), or a series (local). A number at a
time costs each layer one product: it keeps as many of its inputs as its dilation (le Paine et al. 2016, "Fast Wavenet
Generation Algorithm", arXiv:1611.09482).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore.nn.causal import Apply, whole


class CausalConv1d(nn.Conv1d):
    """Output t sees inputs t and t - dilation."""

    def __init__(self, channels: int, outputs: int, dilation: int) -> None:
        super().__init__(channels, outputs, 2, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, T) -> (N, outputs, T)."""
        return super().forward(F.pad(x, (self.dilation[0], 0)))


class Queue:
    """The last inputs of a CausalConv1d, as many as its dilation; before the first they are 0."""

    def __init__(self, conv: CausalConv1d, count: int) -> None:
        self.weight, self.bias = rearrange(conv.weight, "o c two -> o (two c)"), conv.bias
        self.inputs = conv.weight.new_zeros(conv.dilation[0], count, conv.in_channels)
        self.time = 0

    def step(self, value: Tensor) -> Tensor:
        """value (N, channels, 1), the next input -> the output, (N, outputs, 1)."""
        place = self.time % len(self.inputs)
        pair = torch.cat([self.inputs[place], value[:, :, 0]], 1)
        self.inputs[place], self.time = value[:, :, 0], self.time + 1
        return F.linear(pair, self.weight, self.bias)[:, :, None]


class WaveLayer(nn.Module):
    """A gated dilated convolution; the last layer has no use for what it would add to its input."""

    def __init__(self, width: int, skip_width: int, dilation: int, *, last: bool) -> None:
        super().__init__()
        self.conv = CausalConv1d(width, 2 * width, dilation)
        self.residual = None if last else nn.Conv1d(width, width, 1)
        self.skip = nn.Conv1d(width, skip_width, 1)

    def body(self, x: Tensor, context: Tensor | float, apply: Apply) -> tuple[Tensor, Tensor]:
        """x (N, width, T) -> the next layer's input, and what goes to the output, (N, skip_width, T)."""
        feature, opening = (apply(self.conv, x) + context).chunk(2, 1)
        gated = feature.tanh() * opening.sigmoid()
        return x if self.residual is None else x + self.residual(gated), self.skip(gated)


class WaveNetwork(nn.Module):
    """Codes (N, T) of `levels` values -> logits (N, levels, T) of each given those before it.

    `vector`, `series`: channels of the global and of the local condition, 0 without.
    """

    def __init__(
        self,
        levels: int,
        *,
        width: int,
        skip_width: int,
        dilations: Sequence[int],
        vector: int = 0,
        series: int = 0,
    ) -> None:
        super().__init__()
        self.dilations = tuple(dilations)
        count = len(self.dilations)
        self.value = nn.Embedding(levels, width)
        self.first = CausalConv1d(width, width, 1)
        self.layers = nn.ModuleList(
            WaveLayer(width, skip_width, dilation, last=number == count - 1)
            for number, dilation in enumerate(self.dilations)
        )
        self.hidden = nn.Conv1d(skip_width, skip_width, 1)
        self.output = nn.Conv1d(skip_width, levels, 1)
        self.vector = nn.Linear(vector, count * 2 * width, bias=False) if vector else None
        self.series = nn.Conv1d(series, count * 2 * width, 1, bias=False) if series else None

    @property
    def receptive_field(self) -> int:
        """How many numbers before it each number depends on."""
        return 2 + sum(self.dilations)

    def forward(self, codes: Tensor, vector: Tensor | None = None, series: Tensor | None = None) -> Tensor:
        """codes (N, T), vector (N, vector), series (N, series, frames): T is a multiple of the frames."""
        contexts = self.contexts(vector, series)
        length = codes.shape[1]
        spread = [c if isinstance(c, float) or c.shape[2] == 1 else at_every_time(c, length) for c in contexts]
        return self.body(F.pad(self.embedded(codes), (1, 0))[:, :, :-1], spread, whole)

    def embedded(self, codes: Tensor) -> Tensor:
        """codes (N, T) -> (N, width, T)."""
        return rearrange(self.value(codes), "n t c -> n c t")

    def contexts(self, vector: Tensor | None, series: Tensor | None) -> list[Tensor | float]:
        """What each layer adds before its gates, (N, 2 width, 1 or frames)."""
        total: Tensor | None = None
        if self.vector is not None:
            assert vector is not None
            total = self.vector(vector)[:, :, None]
        if self.series is not None:
            assert series is not None
            total = self.series(series) if total is None else total + self.series(series)
        if total is None:
            return [0.0] * len(self.layers)
        return list(rearrange(total, "n (layers c) t -> layers n c t", layers=len(self.layers)))

    def body(self, x: Tensor, contexts: Sequence[Tensor | float], apply: Apply) -> Tensor:
        """x (N, width, T), what came before each time, embedded -> logits (N, levels, T)."""
        x, skips = apply(self.first, x), []
        for layer, context in zip(self.layers, contexts, strict=True):
            x, skip = layer.body(x, context, apply)  # type: ignore[operator]
            skips.append(skip)
        return self.output(F.relu(self.hidden(F.relu(torch.stack(skips).sum(0)))))

    def start(self, count: int, vector: Tensor | None = None, series: Tensor | None = None, hop: int = 1) -> WaveSteps:
        """For `count` series drawn number by number; a frame of the local condition lasts `hop` numbers."""
        return WaveSteps(self, count, self.contexts(vector, series), hop)


def at_every_time(frames: Tensor, length: int) -> Tensor:
    """frames (N, C, F) -> (N, C, length), each repeated length / F times."""
    return frames.repeat_interleave(length // frames.shape[2], 2)


class WaveSteps:
    """A number at a time: one product a layer."""

    def __init__(self, network: WaveNetwork, count: int, contexts: list[Tensor | float], hop: int) -> None:
        self.network, self.contexts, self.hop = network, contexts, hop
        self.queues = {conv: Queue(conv, count) for conv in network.modules() if isinstance(conv, CausalConv1d)}
        self.before = network.value.weight.new_zeros(count, network.value.embedding_dim, 1)
        self.time = 0

    def logits(self) -> Tensor:
        """(N, levels) of the next number. To be asked for once a number."""
        frame = self.time // self.hop
        here = [c if isinstance(c, float) or c.shape[2] == 1 else c[:, :, frame : frame + 1] for c in self.contexts]
        return self.network.body(self.before, here, lambda conv, value: self.queues[conv].step(value))[:, :, 0]

    def put(self, code: Tensor) -> None:
        """It is code (N,) int64."""
        self.before, self.time = self.network.embedded(code[:, None]), self.time + 1
