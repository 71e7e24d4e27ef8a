"""Exemplar networks: every picture is a class of its own, its distortions the examples (Dosovitskiy, Springenberg,
Riedmiller & Brox 2014, "Discriminative Unsupervised Feature Learning with Exemplar Convolutional Neural Networks",
NIPS; arXiv:1406.6909).

    min   sum_i sum_T l(i, T x_i),   l the cross-entropy of N surrogate classes                     (equations 1 and 2)
with T a random translation, scaling, rotation and change of contrast and, where there is any, of colour (section 2.1).
The distortions are the supervision: what they change, the code forgets. Without them the codes find nothing but the
picture itself.

Deviations: whole pictures instead of patches; the first `num_exemplars` pictures instead of those with strong edges;
distortions are drawn anew at each step instead of a fixed set.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.data.source import Source
from gencore.data.views import subset
from gencore.errors import GencoreError
from gencore_representation.parts.networks import Embedding, EncoderConfig, check_pictures
from gencore_representation.parts.warps import poses, warped

SYSTEM = SystemSpec(
    name="exemplar-networks",
    summary="Every picture a class of its own, its distortions the examples",
    paper=Paper(
        title="Discriminative Unsupervised Feature Learning with Exemplar Convolutional Neural Networks",
        authors="Dosovitskiy, Springenberg, Riedmiller & Brox",
        year=2014,
        arxiv="1406.6909",
    ),
    model="ExemplarNetwork",
    recipe="exemplar_networks",
    roles=("encoder", "critic"),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "code_dim": 8, "width": 8, "num_exemplars": 16, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExemplarConfig(EncoderConfig):
    """`num_exemplars`: the pictures that are a class each."""

    num_exemplars: int = 500

    def __post_init__(self) -> None:
        EncoderConfig.__post_init__(self)
        check_pictures(self.data_shape)
        check(self.num_exemplars >= 2, "num_exemplars", self.num_exemplars, "at least 2")


class ExemplarNetwork(Embedding):
    """Encoder and a linear head over the exemplars."""

    config_class = ExemplarConfig

    def __init__(self, config: ExemplarConfig) -> None:
        super().__init__(config)
        self.head = nn.Linear(config.code_dim, config.num_exemplars)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> codes (N, code_dim), not negative: what the head sees, as the paper's features are."""
        return self.encoder(x).relu()

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N, num_exemplars) logits."""
        return self.head(self.encode(x))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Distortion:
    """How far each goes: `shift` as a share of the side, `scale` and `contrast` as logarithms, `turn` in degrees,
    `colour` of each channel on the scale of [-1, 1]. 0 everywhere leaves pictures as they are."""

    shift: float = 0.15
    scale: float = 0.2
    turn: float = 20.0
    contrast: float = 0.3
    colour: float = 0.1

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            check(value >= 0, field.name, value, "0 or more")


def distorted(x: Tensor, how: Distortion) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1], each under distortions of its own from torch's global streams.

    Contrast is multiplied about the picture's mean; what leaves [-1, 1] is clipped.
    """
    count, channels = x.shape[:2]
    spread = 2 * torch.rand(5, count, device=x.device) - 1
    pose = poses(
        turn=math.radians(how.turn) * spread[0],
        zoom=torch.exp(how.scale * spread[1]),
        across=2 * how.shift * spread[2],
        down=2 * how.shift * spread[3],
    )
    moved = warped(x, pose)
    mean = moved.mean((1, 2, 3), keepdim=True)
    moved = mean + torch.exp(how.contrast * spread[4])[:, None, None, None] * (moved - mean)
    if channels > 1:
        moved = moved + how.colour * (2 * torch.rand(count, channels, 1, 1, device=x.device) - 1)
    return moved.clamp(-1, 1)


class Exemplars(Objective):
    """Phase "exemplars".

    Logs `accuracy`.
    """

    def __init__(self, distortion: Distortion) -> None:
        super().__init__()
        self.distortion = distortion

    def exemplars(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"], distorted, whose class is batch["index"]."""
        logits = model.judge(distorted(batch["x"], self.distortion))
        right = (logits.argmax(1) == batch["index"]).float().mean()
        return Loss(F.cross_entropy(logits, batch["index"]), {"accuracy": right})


def exemplar_networks(
    *,
    config: ExemplarConfig = ExemplarConfig(),
    steps: int = 2000,
    batch_size: int = 64,
    shift: float = 0.15,
    scale: float = 0.2,
    turn: float = 20.0,
    contrast: float = 0.3,
    colour: float = 0.1,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`shift` ... `colour`: how far distortions go, see Distortion."""

    def first_ones(source: Source, model: Any) -> Source:
        if len(source) < config.num_exemplars:
            raise GencoreError(
                f"{source.name} has {len(source)} pictures; num_exemplars is {config.num_exemplars}. Lower it."
            )
        return subset(source, torch.arange(config.num_exemplars))

    distortion = Distortion(shift=shift, scale=scale, turn=turn, contrast=contrast, colour=colour)
    phase = Phase(name="exemplars", parts=("encoder", "head"), optimizer=Adam(learning_rate=learning_rate))
    stage = Stage(objective=Exemplars(distortion), phases=(phase,), steps=steps, data=first_ones)
    return Recipe(
        name="exemplar-networks", model=ExemplarNetwork, config=config, stages=(stage,), batch_size=batch_size
    )
