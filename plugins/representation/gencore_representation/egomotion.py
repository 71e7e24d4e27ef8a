"""Egomotion: from two views, tell how the camera moved (Agrawal, Carreira & Malik 2015, "Learning to See by Moving",
ICCV, arXiv:1505.01596; section 4.1, the experiment on MNIST).

    min   CE(across) + CE(down) + CE(turn)   from [E(first); E(second)], E the same for both (a siamese network)
Both views are the same picture, moved by whole pixels and turned; the classes are the shifts -s ... s of the second
against the first, and as many turns as `num_turns` from -30 to 30 degrees.

Being good at this says little about the codes: on MNIST they are no better for telling digits than random ones.
Deviations: shifts up to 1 pixel for 8 x 8 pictures (the paper: 3 of 28); fewer classes of turns; the slow-feature
baseline of the paper's section 3.2 is left out.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from gencore import Paper, Recipe, SystemSpec
from gencore.config import check
from gencore.nn.dense import mlp
from gencore_representation.parts.networks import Embedding, EncoderConfig, check_pictures
from gencore_representation.parts.pretext import Task, pretext_stage
from gencore_representation.parts.warps import poses, warped

SYSTEM = SystemSpec(
    name="egomotion",
    summary="Name the shift and turn between two views",
    paper=Paper(title="Learning to See by Moving", authors="Agrawal, Carreira & Malik", year=2015, arxiv="1505.01596"),
    model="EgomotionNetwork",
    recipe="egomotion",
    roles=("encoder",),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "code_dim": 8, "width": 8, "batch_size": 8},
)

MOTIONS = ("across", "down", "turn")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EgomotionConfig(EncoderConfig):
    """`max_shift` in pixels; `num_turns`: odd, so that no turn is one of them."""

    max_shift: int = 1
    num_turns: int = 5

    def __post_init__(self) -> None:
        EncoderConfig.__post_init__(self)
        check_pictures(self.data_shape)
        check(self.max_shift >= 1, "max_shift", self.max_shift, "at least 1 pixel")
        check(self.num_turns >= 3 and self.num_turns % 2 == 1, "num_turns", self.num_turns, "an odd number from 3")


class EgomotionNetwork(Embedding):
    """An encoder of views, and a head on two codes."""

    config_class = EgomotionConfig

    def __init__(self, config: EgomotionConfig) -> None:
        super().__init__(config)
        shifts = 2 * config.max_shift + 1
        self.sizes = (shifts, shifts, config.num_turns)
        self.head = mlp((2 * config.code_dim, 2 * config.code_dim, sum(self.sizes)))

    def motion(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """Two views (N, *data_shape) -> logits of the shift across, the shift down and the turn, each (N, classes).

        The middle class is no motion; shifts grow to the right and down, turns anticlockwise.
        """
        codes = torch.cat([self.encode(first), self.encode(second)], 1)
        return self.head(codes.relu()).split(self.sizes, 1)


def two_views(x: Tensor, config: EgomotionConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (N, C, S, S) -> two views and the motion between them, classes (3, N) int64 as in MOTIONS.

    The motion is shared between the views, so that none of them is the untouched one. From torch's global streams.
    """
    sizes = (2 * config.max_shift + 1, 2 * config.max_shift + 1, config.num_turns)
    classes = torch.stack([torch.randint(size, (len(x),), device=x.device) for size in sizes])
    steps = classes - torch.tensor(sizes, device=x.device)[:, None] // 2
    before = -(steps // 2)
    after = steps + before
    return moved(x, before, config), moved(x, after, config), classes


def moved(x: Tensor, steps: Tensor, config: EgomotionConfig) -> Tensor:
    """Pictures (N, C, S, S) moved by steps (3, N): pixels to the right, pixels down, turns of the finest kind."""
    half = x.shape[-1] / 2
    finest = math.radians(30) / (config.num_turns // 2)
    turn = finest * steps[2]
    pose = poses(turn=turn, zoom=torch.ones_like(turn), across=steps[0] / half, down=steps[1] / half)
    return warped(x, pose)


def which_motion(model: Any, x: Tensor) -> tuple[Task, ...]:
    """The tasks."""
    first, second, classes = two_views(x, model.config)
    logits = model.motion(first, second)
    return tuple(Task(name, own, target) for name, own, target in zip(MOTIONS, logits, classes, strict=True))


def egomotion(
    *,
    config: EgomotionConfig = EgomotionConfig(),
    steps: int = 2000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
) -> Recipe:
    """Two views a picture."""
    stages = pretext_stage(which_motion, parts=("encoder", "head"), steps=steps, learning_rate=learning_rate)
    return Recipe(name="egomotion", model=EgomotionNetwork, config=config, stages=stages, batch_size=batch_size)
