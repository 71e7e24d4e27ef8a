"""Video triplets: what a tracker follows is one thing (Wang & Gupta 2015, "Unsupervised Learning of Visual
Representations using Videos", ICCV, arXiv:1505.00687).

    D(x, y) = 1 - cos(f(x), f(y))                                                                   (equation 1)
    L = [ D(x, x+) - D(x, x-) + M ]+,   M = 0.5                                                     (equation 2)
x and x+ are the first and the last box of a track, x- comes from another one of the batch: at random at first, then the
`num_negatives` with the largest loss (section 4.2).

Deviations: tracks are made from still pictures: a window wanders over the picture for 30 frames, with drifts of its own
in scale and light, and its first and last frame are kept; the paper mines them from films by SURF motion and a KCF
tracker. The paper trains without weight decay here, and turns to hard negatives after ten epochs of random ones; this
one after `hard_after` of its steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.pairwise import triplet_loss
from gencore_representation.parts.networks import EncoderConfig, UnitEmbedding, check_pictures
from gencore_representation.parts.warps import poses, warped

SYSTEM = SystemSpec(
    name="video-triplet",
    summary="The first and last frame of a track nearer than frames of others",
    paper=Paper(
        title="Unsupervised Learning of Visual Representations using Videos",
        authors="Wang & Gupta",
        year=2015,
        arxiv="1505.00687",
    ),
    model="gencore_representation.parts.networks:UnitEmbedding",
    recipe="video_triplet",
    roles=("encoder",),
    claims=("compiles",),
    tiny={"data_shape": (3, 8, 8), "code_dim": 8, "width": 8, "batch_size": 8},
)

FRAMES = 30
WINDOW = 0.6
"""Side of the tracked window at the start, as a share of the picture's."""


def track_ends(x: Tensor, *, motion: float) -> tuple[Tensor, Tensor]:
    """Pictures (N, C, S, S) in [-1, 1] -> the first and the last frame of a track over each, of the same shape.

    Place, logarithm of scale, gain and offset of the light wander: FRAMES - 1 normal steps, whose sum has standard
    deviation `motion` times 0.12 half sides, 0.15, 0.2 and 0.2. The window stays inside the picture. From torch's
    global streams.
    """
    count = len(x)
    spreads = torch.tensor([0.12, 0.12, 0.15, 0.2, 0.2], device=x.device)[:, None, None]
    steps = torch.randn(5, FRAMES - 1, count, device=x.device) * spreads / (FRAMES - 1) ** 0.5
    across, down, scale, gain, offset = motion * steps.sum(1)
    room = 1 - WINDOW
    start = (2 * torch.rand(2, count, device=x.device) - 1) * room
    side = (WINDOW * scale.exp()).clamp(0.3, 1.0)

    def seen(right: Tensor, below: Tensor, share: Tensor) -> Tensor:
        right, below = (place.clamp(share - 1, 1 - share) for place in (right, below))
        still = torch.zeros_like(share)
        # about the picture's middle the content grows by 1 / share, and the window's middle moves there
        return warped(x, poses(turn=still, zoom=1 / share, across=-right / share, down=-below / share))

    first = seen(start[0], start[1], torch.full_like(side, WINDOW))
    last = seen(start[0] + across, start[1] + down, side)
    lit = gain.exp()[:, None, None, None] * last + offset[:, None, None, None]
    return first, lit.clamp(-1, 1)


def cosine_distances(a: Tensor, b: Tensor) -> Tensor:
    """1 - cos of unit codes a (N, D) and b (M, D), (N, M)."""
    return 1 - a @ b.T


class TrackTriplets(Objective):
    """Phase "encoder".

    Logs `near`: mean distance of the ends of one track; lower is better. `far`: mean distance from other tracks; higher
    is better.
    """

    step: Tensor

    def __init__(self, *, margin: float, num_negatives: int, hard_from: int, motion: float) -> None:
        super().__init__()
        check(margin > 0, "margin", margin, "a positive number")
        check(num_negatives >= 1, "num_negatives", num_negatives, "at least 1")
        check(motion >= 0, "motion", motion, "0 or more")
        self.margin, self.num_negatives, self.hard_from, self.motion = margin, num_negatives, hard_from, motion
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def encoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On tracks over batch["x"]; the last frames of the others are the negatives."""
        first, last = track_ends(batch["x"], motion=self.motion)
        count = len(first)
        if count <= self.num_negatives:
            raise GencoreError(f"batch_size is {count}; expected more than num_negatives, {self.num_negatives}.")
        z = model.encode(torch.cat([first, last])).float()
        distance = cosine_distances(z[:count], z[count:])
        own = torch.eye(count, dtype=torch.bool, device=z.device)
        chance = torch.rand_like(distance)
        rank = torch.where(self.step >= self.hard_from, -distance.detach(), chance).masked_fill(own, -torch.inf)
        negative = rank.topk(self.num_negatives, dim=1).indices
        far = distance.gather(1, negative).flatten()
        near = distance.diagonal().repeat_interleave(self.num_negatives)
        return Loss(triplet_loss(near, far, margin=self.margin), {"near": near.mean(), "far": far.mean()})

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """One step further."""
        self.step += 1


def video_triplet(
    *,
    config: EncoderConfig = EncoderConfig(data_shape=(3, 32, 32)),
    steps: int = 1000,
    batch_size: int = 64,
    margin: float = 0.5,
    num_negatives: int = 4,
    hard_after: float = 0.5,
    motion: float = 1.0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`margin` is M; `hard_after`: the part of the steps with random negatives; `motion`: of the tracks, 0 is none."""
    check_pictures(config.data_shape)
    check(0 <= hard_after <= 1, "hard_after", hard_after, "a share in [0, 1]")
    objective = TrackTriplets(
        margin=margin, num_negatives=num_negatives, hard_from=round(hard_after * steps), motion=motion
    )
    phase = Phase(name="encoder", parts=("encoder",), optimizer=Adam(learning_rate=learning_rate))
    return Recipe(
        name="video-triplet",
        model=UnitEmbedding,
        config=config,
        stages=(Stage(objective=objective, phases=(phase,), steps=steps),),
        batch_size=batch_size,
        data="photos",
    )
