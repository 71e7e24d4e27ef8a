"""Siamese network: one encoder sees both of a pair, and codes of one class are drawn together, others pushed apart
(Hadsell, Chopra & LeCun 2006, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR).

    same        d^2 / 2                    d = ||f(x1) - f(x2)||                              (equations 3 and 4)
    different   [m - d]+^2 / 2
loss="linear" has d and [m - d]+ in their place (Simo-Serra et al. 2015, "Discriminative Learning of Deep Convolutional
Feature Point Descriptors", ICCV, equation 1). Without the second line all codes fall into one.

Deviations: all pairs of a batch instead of a list of pairs, the mean over the same and the mean over the different
ones, which weighs both alike; batches hold several examples of a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.nn.pairwise import contrastive_loss
from gencore_representation.parts.grouped import grouped
from gencore_representation.parts.labels import labels_in
from gencore_representation.parts.networks import Embedding, EncoderConfig

SYSTEM = SystemSpec(
    name="siamese-network",
    summary="Codes near for one class and a margin apart for others, from pairs",
    paper=Paper(
        title="Dimensionality Reduction by Learning an Invariant Mapping",
        authors="Hadsell, Chopra & LeCun",
        year=2006,
    ),
    model="gencore_representation.parts.networks:Embedding",
    recipe="siamese_network",
    roles=("encoder",),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "code_dim": 4, "width": 8, "batch_size": 8},
)

Form = Literal["squared", "linear"]


class Contrastive(Objective):
    """Phase "encoder"."""

    def __init__(self, *, margin: float, loss: Form) -> None:
        super().__init__()
        check(margin > 0, "margin", margin, "a positive number")
        check(loss in ("squared", "linear"), "loss", loss, '"squared" or "linear"')
        self.margin, self.form = margin, loss

    def encoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On all pairs of batch["x"]; batch["label"] says which are of one class."""
        z, label = model.encode(batch["x"]), labels_in(batch)
        return Loss(contrastive_loss(z, label, margin=self.margin, squared=self.form == "squared"))


def siamese_network(
    *,
    config: EncoderConfig = EncoderConfig(code_dim=16),
    steps: int = 1000,
    batch_size: int = 64,
    margin: float = 1.0,
    loss: Form = "squared",
    per_class: int = 4,
    learning_rate: float = 1e-3,
) -> Recipe:
    """Needs labelled data. `per_class`: examples of a class that come together in a batch."""
    stage = Stage(
        objective=Contrastive(margin=margin, loss=loss),
        phases=(Phase(name="encoder", parts=("encoder",), optimizer=Adam(learning_rate=learning_rate)),),
        steps=steps,
        data=lambda source, model: grouped(source, per_class),
    )
    return Recipe(name="siamese-network", model=Embedding, config=config, stages=(stage,), batch_size=batch_size)
