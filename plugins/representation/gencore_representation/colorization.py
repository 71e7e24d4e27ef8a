"""Colorization: from lightness, the colours (Zhang, Isola & Efros 2016, "Colorful Image Colorization", ECCV,
arXiv:1603.08511).

    regression   1/2 sum over places ||ab - ab^||^2                                                 (equation 1)
    classes      - sum over places v sum_q Z_q log Z^_q                                             (equation 2)
                 Z: the true (a, b) shared out among its 5 nearest bins, by a Gaussian of sigma 5
                 v = w_q*, w ~ ((1 - lambda) p~ + lambda / Q)^-1, E_p~ w = 1, lambda = 1/2          (equations 3, 4)
    decoding     the mean of the bins under softmax(log Z^ / T), T = 0.38                           (equation 5)
p~ is how often bins occur. Regression to the mean makes things grey; bins with rare ones weighed up do not.

The code is the mean of the last features over all places. Deviations: p~ is counted during the training instead of
beforehand (smoothed by Z alone); bins are the cells of width 10 that sRGB reaches (the paper counts 313); a small
network with one stride of 2 and dilations instead of VGG's; colours are predicted at half the resolution; regression
learns at a rate that falls to 0 by a cosine, without which one seed of three errs by more than 0.8 of grey's error.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Adam, Loss, Model, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.distributed import sum_over_processes
from gencore_representation.parts.backbones import SMALL
from gencore_representation.parts.lab import gamut_bins, lab_to_rgb, rgb_to_lab
from gencore_representation.parts.networks import EncoderConfig, check_pictures

SYSTEM = SystemSpec(
    name="colorization",
    summary="The colours of a picture from its lightness, rare ones weighed up",
    paper=Paper(title="Colorful Image Colorization", authors="Zhang, Isola & Efros", year=2016, arxiv="1603.08511"),
    model="Colorizer",
    recipe="colorization",
    roles=("encoder",),
    traits=("translate",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (3, 16, 16), "code_dim": 8, "width": 8, "batch_size": 4},
)

NEIGHBOURS, SIGMA = 5, 5.0
Head = Literal["classes", "regression"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ColorizerConfig(EncoderConfig):
    """`head`: what is predicted at each place. `temperature`: T, of the decoding of classes."""

    data_shape: tuple[int, ...] = (3, 32, 32)
    head: Head = "classes"
    temperature: float = 0.38

    def __post_init__(self) -> None:
        EncoderConfig.__post_init__(self)
        check_pictures(self.data_shape)
        check(self.data_shape[0] == 3, "data_shape", self.data_shape, "pictures in colour: (3, size, size)")
        check(self.backbone == SMALL, "backbone", self.backbone, f'"{SMALL}": colours need features of every place')
        check(self.head in ("classes", "regression"), "head", self.head, '"classes" or "regression"')
        check(self.temperature > 0, "temperature", self.temperature, "a positive number")


class Colorizer(Model):
    """`encoder`: lightness to features at half the resolution; `head`: features to bins, or to (a, b)."""

    config_class = ColorizerConfig
    config: ColorizerConfig
    regions = ("encoder",)
    bins: Tensor

    def __init__(self, config: ColorizerConfig) -> None:
        super().__init__(config)
        width, code_dim = config.width, config.code_dim
        self.register_buffer("bins", gamut_bins(), persistent=False)
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, code_dim, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(code_dim, code_dim, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv2d(code_dim, code_dim, 3, padding=4, dilation=4),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(code_dim, len(self.bins) if config.head == "classes" else 2, 1)

    def features(self, x: Tensor) -> Tensor:
        """Pictures (N, 3, S, S), of which the lightness is looked at -> (N, code_dim, S / 2, S / 2)."""
        return self.encoder(rgb_to_lab(x)[:, :1] / 50 - 1)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Pictures (N, 3, S, S), of which the lightness is looked at -> (N, code_dim)."""
        return self.features(x).mean((2, 3))

    def colours(self, x: Tensor) -> Tensor:
        """Pictures (N, 3, S, S), of which the lightness is looked at -> (a, b), (N, 2, S / 2, S / 2)."""
        out = self.head(self.features(x))
        if self.config.head == "regression":
            return 100 * out
        return torch.einsum("nqhw,qc->nchw", (out / self.config.temperature).softmax(1), self.bins)

    def translate(self, x: Tensor, *, to: None = None) -> Tensor:
        """Pictures (N, 3, H, W) -> the same lightness in the predicted colours. Odd sizes are filled up by the last
        row and column and cut again."""
        height, width = x.shape[-2:]
        even = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
        ab = F.interpolate(self.colours(even), scale_factor=2, mode="bilinear", align_corners=False)
        return lab_to_rgb(torch.cat([rgb_to_lab(x)[:, :1], ab[..., :height, :width]], 1))


def true_colours(x: Tensor) -> Tensor:
    """Pictures (N, 3, S, S) -> their (a, b) at half the resolution, (N, 2, S / 2, S / 2)."""
    return F.avg_pool2d(rgb_to_lab(x)[:, 1:], 2)


def soft_bins(ab: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """Colours (P, 2) -> their NEIGHBOURS nearest of bins (Q, 2), nearest first, and the share of each, (P, 5) both."""
    near = torch.cdist(ab, bins).topk(NEIGHBOURS, largest=False)
    return near.indices, (-near.values.square() / (2 * SIGMA**2)).softmax(1)


def rebalancing(frequency: Tensor, uniform_share: float) -> Tensor:
    """w (Q,) from how often bins occur, (Q,) summing to 1: E w = 1; a share of 1 leaves all weights 1."""
    weight = 1 / ((1 - uniform_share) * frequency + uniform_share / len(frequency))
    return weight / (frequency * weight).sum()


class ColorObjective(Objective):
    """Phase "colorizer".

    Logs `nats`: cross-entropy of the colour bins, unweighted; lower is better.
    """

    counts: Tensor

    def __init__(self, uniform_share: float, num_bins: int) -> None:
        super().__init__()
        check(0 < uniform_share <= 1, "uniform_share", uniform_share, "a share in (0, 1]")
        self.uniform_share = uniform_share
        self.register_buffer("counts", torch.zeros(num_bins))

    def colorizer(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"]."""
        x = batch["x"]
        ab, out = true_colours(x), model.head(model.features(x))
        if model.config.head == "regression":
            return Loss((ab / 100 - out).square().sum(1).mean() / 2)
        places = rearrange(out, "n q h w -> (n h w) q")
        which, share = soft_bins(rearrange(ab, "n c h w -> (n h w) c"), model.bins)
        seen = torch.zeros_like(self.counts).index_add_(0, which.flatten(), share.flatten())
        frequency = (self.counts + 1) / (self.counts + 1).sum()
        weight = rebalancing(frequency, self.uniform_share)[which[:, 0]]
        nats = -(share * places.log_softmax(1).gather(1, which)).sum(1)
        return Loss((weight * nats).mean(), {"nats": nats.mean()}, seen=seen)

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Count the bins."""
        if seen:
            self.counts += sum_over_processes(torch.stack(list(seen)).sum(0))


def colorization(
    *,
    config: ColorizerConfig = ColorizerConfig(),
    steps: int = 600,
    batch_size: int = 32,
    uniform_share: float = 0.5,
    learning_rate: float = 3e-3,
) -> Recipe:
    """`uniform_share` is lambda: 1 weighs all colours alike."""

    def falling(step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(step / max(steps, 1), 1)))

    phase = Phase(
        name="colorizer",
        parts=("encoder", "head"),
        optimizer=Adam(learning_rate=learning_rate),
        schedule=falling if config.head == "regression" else None,
    )
    objective = ColorObjective(uniform_share, len(gamut_bins()))
    return Recipe(
        name="colorization",
        model=Colorizer,
        config=config,
        stages=(Stage(objective=objective, phases=(phase,), steps=steps),),
        batch_size=batch_size,
        data="photos",
    )
