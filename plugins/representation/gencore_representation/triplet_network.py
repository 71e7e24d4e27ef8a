"""FaceNet: codes on a sphere, nearer to their own class than to any other by a margin (Schroff, Kalenichenko & Philbin
2015, "FaceNet: A Unified Embedding for Face Recognition and Clustering", CVPR, arXiv:1503.03832).

    [ ||f(a) - f(p)||^2 - ||f(a) - f(n)||^2 + alpha ]+,   ||f|| = 1, alpha = 0.2                      (equation 3)
over all pairs (a, p) of one class in a batch. n, of another class, is by `mining`
    semi-hard   the nearest to a of those farther than p (section 3.2): the hardest ones collapse the codes early on
    hard        the nearest to a
    random      any
found anew in every batch with the weights of the moment.

Where no n is farther than p the farthest one is taken, on which the paper is silent. Deviations: the mean over pairs in
place of their sum; batches of a few dozen instead of 1,800.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.nn.pairwise import (
    hard_negatives,
    pair_distances,
    positive_pairs,
    random_negatives,
    semi_hard_negatives,
    triplet_loss,
)
from gencore_representation.parts.grouped import grouped
from gencore_representation.parts.labels import labels_in
from gencore_representation.parts.networks import EncoderConfig, UnitEmbedding

SYSTEM = SystemSpec(
    name="triplet-network",
    summary="FaceNet: nearer to the own class than to a semi-hard other, by a margin",
    paper=Paper(
        title="FaceNet: A Unified Embedding for Face Recognition and Clustering",
        authors="Schroff, Kalenichenko & Philbin",
        year=2015,
        arxiv="1503.03832",
    ),
    model="gencore_representation.parts.networks:UnitEmbedding",
    recipe="triplet_network",
    roles=("encoder",),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "code_dim": 4, "width": 8, "batch_size": 8},
)

Mining = Literal["semi-hard", "hard", "random"]
MINERS = {"semi-hard": semi_hard_negatives, "hard": hard_negatives, "random": random_negatives}


class Triplet(Objective):
    """Phase "encoder".

    Logs `active`: share of triplets that still break the margin; lower is better.
    """

    def __init__(self, *, margin: float, mining: Mining) -> None:
        super().__init__()
        check(margin > 0, "margin", margin, "a positive number")
        check(mining in MINERS, "mining", mining, f"one of {list(MINERS)}")
        self.margin, self.mining = margin, mining

    def encoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On all pairs of one class in batch["x"], by batch["label"]."""
        z, label = model.encode(batch["x"]).float(), labels_in(batch)
        anchor, positive = positive_pairs(label)
        negative = MINERS[self.mining](z.detach(), label, anchor, positive)
        near, far = (pair_distances(z[anchor], z[other]).square() for other in (positive, negative))
        loss = triplet_loss(near, far, margin=self.margin)
        return Loss(loss, {"active": (near - far + self.margin > 0).float().sum() / max(len(near), 1)})


def triplet_network(
    *,
    config: EncoderConfig = EncoderConfig(code_dim=16),
    steps: int = 1000,
    batch_size: int = 64,
    margin: float = 0.2,
    mining: Mining = "semi-hard",
    per_class: int = 4,
    learning_rate: float = 1e-3,
) -> Recipe:
    """Needs labelled data. `margin` is alpha; `per_class`: examples of a class that come together in a batch."""
    stage = Stage(
        objective=Triplet(margin=margin, mining=mining),
        phases=(Phase(name="encoder", parts=("encoder",), optimizer=Adam(learning_rate=learning_rate)),),
        steps=steps,
        data=lambda source, model: grouped(source, per_class),
    )
    return Recipe(name="triplet-network", model=UnitEmbedding, config=config, stages=(stage,), batch_size=batch_size)
