"""RotNet: tell by how much a picture is turned (Gidaris, Singh & Komodakis 2018, "Unsupervised Representation Learning
by Predicting Image Rotations", ICLR, arXiv:1803.07728).

    min   -1/N sum_i 1/4 sum_{k=0..3} log F^k(g(x_i, k))        g(x, k): x turned by k 90 degrees     (equations 2, 3)
All four copies of a picture are in one batch, and the turns are exact: transpositions and flips leave no trace of
interpolation to read the answer from.

Being good at this says little about the codes: on 8 x 8 digits they are worse for telling digits than random ones.
0, 1 and 8 look the same upside down.

Deviations: the family's encoder instead of a network in network; a head of one hidden layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gencore import Paper, Recipe, SystemSpec
from gencore.nn.dense import mlp
from gencore_representation.parts.networks import Embedding, EncoderConfig, check_pictures
from gencore_representation.parts.pretext import Task, pretext_stage

SYSTEM = SystemSpec(
    name="rotation-prediction",
    summary="RotNet: name the quarter turns of a picture",
    paper=Paper(
        title="Unsupervised Representation Learning by Predicting Image Rotations",
        authors="Gidaris, Singh & Komodakis",
        year=2018,
        arxiv="1803.07728",
    ),
    model="RotNet",
    recipe="rotation_prediction",
    roles=("encoder", "critic"),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (1, 8, 8), "code_dim": 8, "width": 8, "batch_size": 8},
)

TURNS = 4


class RotNet(Embedding):
    """Encoder and head."""

    def __init__(self, config: EncoderConfig) -> None:
        check_pictures(config.data_shape)
        super().__init__(config)
        self.head = mlp((config.code_dim, config.code_dim, TURNS))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N, 4) logits of 0, 90, 180 and 270 degrees, anticlockwise."""
        return self.head(self.encode(x).relu())


def four_turns(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (N, C, S, S) -> all copies, turn by turn, (4 N, C, S, S), and how many quarter turns each is, (4 N,)."""
    copies = torch.cat([x.rot90(turns, (2, 3)) for turns in range(TURNS)])
    return copies, torch.arange(TURNS, device=x.device).repeat_interleave(len(x))


def which_turn(model: Any, x: Tensor) -> tuple[Task, ...]:
    """The task."""
    copies, turns = four_turns(x)
    return (Task("turn", model.judge(copies), turns),)


def rotation_prediction(
    *,
    config: EncoderConfig = EncoderConfig(),
    steps: int = 1500,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
) -> Recipe:
    """A batch of n pictures is 4 n copies."""
    stages = pretext_stage(which_turn, parts=("encoder", "head"), steps=steps, learning_rate=learning_rate)
    return Recipe(name="rotation-prediction", model=RotNet, config=config, stages=stages, batch_size=batch_size)
