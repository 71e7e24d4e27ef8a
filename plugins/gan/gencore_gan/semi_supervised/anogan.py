"""AnoGAN (Schlegl et al. 2017, "Unsupervised Anomaly Detection with Generative Adversarial Networks to Guide Marker
Discovery", arXiv:1703.05921).

A GAN learns normal data. The nearest of its images is searched for each x, through the frozen generator:
    L(z) = (1 - share) sum |x - G(z)| + share sum |f(x) - f(G(z))|                            (equations 1, 2 and 5)
    A(x) = L(z*), the score after `search_steps`, larger for stranger data                    (equations 6 and 7)
with f the critic's last hidden layer and share 0.1. What the generator cannot make scores high.

Holding one class out and calling the rest normal depends on the class: strokes of a digit 1 are in most other digits.
So one class is normal by default, `normal_classes`, and all data are where that is ().

Deviations: LeakyReLU perceptrons where the paper has convolutions; the best code of the search is kept, where the paper
takes the last.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import Adversarial, two_players
from gencore.config import check
from gencore.data.by_class import of_classes
from gencore.errors import GencoreError
from gencore.latent.inversion import Inversion, Likeness, Search, invert
from gencore_gan.parts.inverters import FeatureGAN
from gencore_gan.parts.networks import DenseGANConfig

SYSTEM = SystemSpec(
    name="anogan",
    summary="Anomalies are what a GAN of normal data has no code for",
    paper=Paper(
        title="Unsupervised Anomaly Detection with Generative Adversarial Networks to Guide Marker Discovery",
        authors="Schlegl et al.",
        year=2017,
        arxiv="1703.05921",
    ),
    model="AnoGAN",
    recipe="anogan",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("reconstruct",),
    claims=("compiles", "twice-differentiable"),
    tiny={"latent_dim": 4, "hidden": (16,), "batch_size": 8, "search_steps": 3},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AnoGANConfig(DenseGANConfig):
    """`search_steps` of Adam at `search_rate` find a code; `feature_share` is the critic's part of the loss."""

    search_steps: int = 500
    search_rate: float = 0.02
    feature_share: float = 0.1

    def __post_init__(self) -> None:
        DenseGANConfig.__post_init__(self)
        check(self.search_steps >= 0, "search_steps", self.search_steps, "0 or more")
        check(self.search_rate > 0, "search_rate", self.search_rate, "a positive number")
        check(0 <= self.feature_share <= 1, "feature_share", self.feature_share, "a number in [0, 1]")


class AnoGAN(FeatureGAN):
    """Has no encoder network: `encode` searches."""

    config_class = AnoGANConfig
    config: AnoGANConfig

    def search(self, x: Tensor) -> Inversion:
        """x (N, *data_shape) -> z*, G(z*), L(z*). The start of example i depends on i alone."""
        config = self.config
        likeness = Likeness(
            norm="l1",
            pixel_weight=1 - config.feature_share,
            feature_weight=config.feature_share,
            features=self.features,
        )
        return invert(
            self, x, likeness=likeness, search=Search(steps=config.search_steps, learning_rate=config.search_rate)
        )

    def anomaly_scores(self, x: Tensor) -> Tensor:
        """A(x), (N,): larger is stranger."""
        return self.search(x).loss

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z*, (N, latent_dim)."""
        return self.search(x).z

    def reconstruct(self, x: Tensor) -> Tensor:
        """G(z*): x as it would be if it were normal."""
        return self.search(x).x


def anogan(
    *,
    config: AnoGANConfig = AnoGANConfig(data_shape=(1, 8, 8), latent_dim=8, output="auto"),
    steps: int = 3000,
    batch_size: int = 64,
    normal_classes: tuple[int, ...] = (0,),
    learning_rate: float = 5e-4,
) -> Recipe:
    """Learns the data of `normal_classes`; () takes all data as normal, and needs no labels."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    (stage,) = two_players(Adversarial(non_saturating), optimizer, steps=steps)

    def normal(source: Any, model: Any) -> Any:
        if normal_classes and source.num_classes is None:
            raise GencoreError(
                f"{source.name} has no labels, and normal_classes is {normal_classes}: set normal_classes=() to take "
                "all of it as normal."
            )
        return of_classes(source, normal_classes) if normal_classes else source

    return Recipe(
        name="anogan",
        model=AnoGAN,
        config=config,
        stages=(dataclasses.replace(stage, data=normal),),
        batch_size=batch_size,
    )
