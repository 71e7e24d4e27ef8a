"""WaveNet (van den Oord et al. 2016, "WaveNet: A Generative Model for Raw Audio", arXiv:1609.03499).

    p(x | h) = prod_t p(x_t | x_1 ... x_(t-1), h)                                                  (equations 1, 3)
    f(x) = sign(x) ln(1 + mu |x|) / ln(1 + mu)                                                     (section 2.2)
Sound in [-1, 1] is companded by f and rounded to the nearest of `levels` even levels of f, with mu = levels - 1, 255 in
the paper; p is of these levels, a softmax, in nats (and so log p of any sound is that of its levels). The network is
that of gencore.nn.causal_waves; h is the class, that is the speaker (global), or a spectrogram (local), section 2.5.

Deviations: small; a frame of the spectrogram holds for all its numbers, where the paper prefers a learned up-sampling;
a level enters through a vector of its own. Data: `vowel-waves`, 0.28 s at 8 kHz by four speakers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gencore import Model, ModelConfig, Noise, Paper, Recipe, Sampler, SystemSpec
from gencore.conditions import ClassLabel, Condition, Image
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.causal_waves import WaveNetwork, WaveSteps
from gencore.nn.labels import one_hot
from gencore.nn.levels import check_range, from_levels, to_levels
from gencore.nn.likelihood import PROBABILITY, Scale
from gencore_autoregressive.parts.ancestral import AncestralSampler, choose
from gencore_autoregressive.parts.likelihood import one_stage, over_classes

SYSTEM = SystemSpec(
    name="wavenet",
    summary="Sound number by number: causal dilated convolutions, mu-law, of a speaker or a spectrogram",
    paper=Paper(
        title="WaveNet: A Generative Model for Raw Audio",
        authors="van den Oord, Dieleman, Zen, Simonyan, Vinyals, Graves, Kalchbrenner, Senior & Kavukcuoglu",
        year=2016,
        arxiv="1609.03499",
    ),
    model="WaveNet",
    recipe="wavenet",
    roles=("sampler",),
    traits=("log-prob",),
    claims=("compiles", "exact-data-parallel", "conditional"),
    tiny={"levels": 16, "width": 4, "skip_width": 4, "dilations": 3, "stacks": 1, "batch_size": 2},
)


def to_mu_law(x: Tensor, levels: int) -> Tensor:
    """Sound in [-1, 1] -> the nearest companded level, int64 in 0 ... levels - 1. Raises GencoreError outside."""
    check_range(x)
    mu = levels - 1
    return to_levels(x.sign() * torch.log1p(mu * x.abs()) / math.log1p(mu), levels, "nearest")


def from_mu_law(codes: Tensor, levels: int) -> Tensor:
    """Levels -> sound in [-1, 1], float32."""
    companded, mu = from_levels(codes, levels), levels - 1
    return companded.sign() * torch.expm1(companded.abs() * math.log1p(mu)) / mu


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WaveNetConfig(ModelConfig):
    """`data_shape`: (1, numbers of a clip). `levels`: of the companded sound. `sample_rate`: numbers of a second.
    `width`, `skip_width`: channels of the layers and of what they give the output. Dilations 1, 2, 4, ... of
    `dilations` layers, `stacks` times. One of `num_classes`, for the class of each clip, and `input_shape`, for its
    spectrogram (1, bands, frames), or neither.
    """

    data_shape: tuple[int, int] = (1, 2240)
    levels: int = 256
    sample_rate: int = 8000
    width: int = 32
    skip_width: int = 64
    dilations: int = 7
    stacks: int = 2
    num_classes: int | None = None
    input_shape: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        channels, length = self.data_shape
        check(
            channels == 1 and length >= 1, "data_shape", self.data_shape, "(1, numbers of a clip): sound of 1 channel"
        )
        check(2 <= self.levels <= 65536, "levels", self.levels, "2 to 65536")
        for name in ("sample_rate", "width", "skip_width", "dilations", "stacks"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        check(self.dilations <= 20, "dilations", self.dilations, "at most 20: the last one is 2 to its power")
        check(self.num_classes is None or self.num_classes > 0, "num_classes", self.num_classes, "null or at least 1")
        if (shape := self.input_shape) is not None:
            expected = f"(1, bands, frames), with {length} numbers a multiple of the frames"
            check(shape[0] == 1 and min(shape) > 0 and length % shape[2] == 0, "input_shape", shape, expected)
            check(
                self.num_classes is None, "num_classes", self.num_classes, "null beside an input_shape: one condition"
            )


class WaveNet(Model):
    """The density of sound, of a speaker's, or of a spectrogram's."""

    config_class = WaveNetConfig
    config: WaveNetConfig
    regions = ("network",)

    def __init__(self, config: WaveNetConfig) -> None:
        super().__init__(config)
        self.network = WaveNetwork(
            config.levels,
            width=config.width,
            skip_width=config.skip_width,
            dilations=[2**power for power in range(config.dilations)] * config.stacks,
            vector=config.num_classes or 0,
            series=config.input_shape[1] if config.input_shape else 0,
        )

    @property
    def condition(self) -> Condition | None:
        """The class, or the spectrogram as a picture."""
        if self.config.input_shape:
            return Image(shape=self.config.input_shape)
        return ClassLabel(count=self.config.num_classes) if self.config.num_classes else None

    @property
    def likelihood_scale(self) -> Scale:
        """A probability, of companded levels."""
        return PROBABILITY

    def codes(self, x: Tensor) -> Tensor:
        """Sound (N, 1, T) -> its levels, (N, 1, T) int64. Raises GencoreError for other shapes and outside [-1, 1]."""
        if tuple(x.shape[1:]) != self.config.data_shape:
            raise GencoreError(f"x is {tuple(x.shape)}; expected (N, 1, {self.config.data_shape[1]}).")
        return to_mu_law(x, self.config.levels)

    def context(self, condition: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """What the network takes: the class as a one-hot vector, or the bands as a series."""
        if condition is None:
            return None, None
        weight = self.network.value.weight
        if self.config.num_classes:
            return one_hot(condition, self.config.num_classes, condition).to(weight), None
        return None, condition[:, 0].to(weight)

    def log_prob(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, 1, T) -> log p of its levels, (N,) nats; without a class the mean over the classes."""
        codes = self.codes(x)[:, 0]

        def of(given: Tensor | None) -> Tensor:
            logits = self.network(codes, *self.context(given))
            return -torch.nn.functional.cross_entropy(logits, codes, reduction="none").sum(1)

        return over_classes(self.condition, condition, len(x), of)

    def conditionals(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, 1, T) -> log p(x_t = level | x_1 ... x_(t-1), condition) of every level, (N, 1, levels, T)."""
        return self.network(self.codes(x)[:, 0], *self.context(condition)).log_softmax(1)[:, None]

    def default_sampler(self) -> Sampler:
        """Number by number."""
        return AncestralSampler()

    def start(self, count: int, condition: Tensor | None, *, cached: bool = True) -> WaveDrawing:
        """`count` clips to be drawn."""
        return WaveDrawing(self, count, condition, cached=cached)

    def stream(
        self, n: int, *, seed: int = 0, condition: Any = None, temperature: float = 1.0, chunk: int = 800
    ) -> Iterator[Tensor]:
        """The clips of sample(n, seed=seed, condition=condition), piece by piece while they are drawn, each (n, 1,
        chunk), the last one shorter. Raises GencoreError as `sample` does."""
        check(chunk >= 1, "chunk", chunk, "at least 1")
        sampler = AncestralSampler(temperature=temperature)
        given = self.check_condition(condition, n)
        drawing, noise = self.start(n, None if given is None else given.to(self.device)), Noise(seed, 0, n)
        return self._pieces(drawing, noise, sampler.temperature, chunk)

    def _pieces(self, drawing: WaveDrawing, noise: Noise, temperature: float, chunk: int) -> Iterator[Tensor]:
        for first in range(0, len(drawing.places), chunk):
            with torch.no_grad():
                for time in drawing.places[first : first + chunk]:
                    drawing.put(time, choose(drawing.logits(time), noise, temperature))
            yield from_mu_law(drawing.codes[:, None, first : first + chunk], self.config.levels)


class WaveDrawing:
    """Clips that are being drawn: gencore_autoregressive.parts.ancestral.Drawing."""

    def __init__(self, model: WaveNet, count: int, condition: Tensor | None, *, cached: bool) -> None:
        self.model, self.context = model, model.context(condition)
        length, shape = model.config.data_shape[1], model.config.input_shape
        self.places = range(length)
        self.codes = torch.zeros(count, length, dtype=torch.int64, device=model.device)
        hop = length // shape[2] if shape else 1
        self.steps: WaveSteps | None = model.network.start(count, *self.context, hop) if cached else None

    def logits(self, place: int) -> Tensor:
        """(N, levels), of one number."""
        if self.steps is not None:
            return self.steps.logits()
        return self.model.network(self.codes, *self.context)[:, :, place]

    def put(self, place: int, code: Tensor) -> None:
        """code (N,) int64."""
        self.codes[:, place] = code
        if self.steps is not None:
            self.steps.put(code)

    def result(self) -> Tensor:
        """(N, 1, T) in [-1, 1]."""
        return from_mu_law(self.codes[:, None], self.model.config.levels)


CONFIG = WaveNetConfig()


def wavenet(
    *, config: WaveNetConfig = CONFIG, steps: int = 2000, batch_size: int = 8, learning_rate: float = 2e-3
) -> Recipe:
    """One phase, one stage."""
    stages = one_stage(steps=steps, learning_rate=learning_rate)
    return Recipe(
        name="wavenet", model=WaveNet, config=config, stages=stages, batch_size=batch_size, data="vowel-waves"
    )
