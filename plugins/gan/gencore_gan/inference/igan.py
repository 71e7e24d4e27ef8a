"""iGAN (Zhu, Krahenbuhl, Shechtman & Efros 2016, "Generative Visual Manipulation on the Natural Image Manifold",
arXiv:1609.03552).

    projection   z* = argmin_z ||x - G(z)||^2 + feature_weight ||C(x) - C(G(z))||^2                    (equation 4)
    predictor    P = argmin sum_x of the same error of G(P(x)), on real images                         (equation 5)
    hybrid       descent on the projection from P(x) on                                               (section 4.1)
    edit         argmin_z ||m (v - G(z))||^2 + smoothness ||z - z0||^2, v the strokes and m where they are
                                                                                                       (equation 7)
`project` is the hybrid, and so is `reconstruct`. C is the critic's trunk.

Deviations: C is a network of this game where the paper has AlexNet's conv4, hence feature_weight 0.01 of a mean square;
the edit has no term of the critic; the flow that carries an edit back to the photograph (section 5.2) is not here.
LeakyReLU perceptrons.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from gencore import Paper, Recipe, SystemSpec
from gencore.config import check
from gencore.latent.inversion import Inversion, Likeness, Search, invert
from gencore_gan.parts.inverters import InvertedGAN, Inverter, gan_then_inverter
from gencore_gan.parts.networks import DenseGANConfig

SYSTEM = SystemSpec(
    name="igan",
    summary="A photo is projected to the generator's images by a guess and a descent, then edited there",
    paper=Paper(
        title="Generative Visual Manipulation on the Natural Image Manifold",
        authors="Zhu et al.",
        year=2016,
        arxiv="1609.03552",
    ),
    model="IGAN",
    recipe="igan",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("reconstruct",),
    claims=("compiles", "twice-differentiable"),
    tiny={"latent_dim": 4, "hidden": (16,), "batch_size": 8, "inverter_steps": 4, "projection_steps": 3},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IGANConfig(DenseGANConfig):
    """`projection_steps` of Adam after the predictor's guess, in `project`. `feature_weight`: of the critic's features
    beside the pixels, both as mean squares, in the predictor's training and the projection alike."""

    projection_steps: int = 40
    feature_weight: float = 0.01

    def __post_init__(self) -> None:
        DenseGANConfig.__post_init__(self)
        check(self.projection_steps >= 0, "projection_steps", self.projection_steps, "0 or more")
        check(self.feature_weight >= 0, "feature_weight", self.feature_weight, "0 or more")


class IGAN(InvertedGAN):
    """`encoder` is the predictor P."""

    config_class = IGANConfig
    config: IGANConfig

    def project(self, x: Tensor) -> Inversion:
        """The hybrid: x (N, *data_shape) -> codes, their images, and the errors before and after the descent."""
        config = self.config
        likeness = Likeness(
            pixel_weight=1 / math.prod(config.data_shape),
            feature_weight=config.feature_weight / config.hidden[-1],
            features=self.features,
        )
        return invert(self, x, likeness=likeness, start="encoder", search=Search(steps=config.projection_steps))

    def reconstruct(self, x: Tensor) -> Tensor:
        """The image of the projection."""
        return self.project(x).x

    def edit(self, z: Tensor, strokes: Tensor, mask: Tensor, *, smoothness: float = 1.0, steps: int = 60) -> Inversion:
        """Codes near z (N, latent_dim) whose images have `strokes` (N, *data_shape) where `mask`, of the same shape,
        is 1. `smoothness`: the weight of ||z - z0||^2 against the sum of squares in the mask."""
        check(smoothness >= 0, "smoothness", smoothness, "0 or more")
        likeness = Likeness(mask=mask, prior_weight=2 * smoothness, center=z)
        with torch.no_grad():
            return invert(self, strokes, likeness=likeness, start=z, search=Search(steps=steps))


def igan(
    *,
    config: IGANConfig = IGANConfig(data_shape=(1, 8, 8), latent_dim=8, output="auto"),
    steps: int = 4000,
    inverter_steps: int | None = None,
    batch_size: int = 64,
    learning_rate: float = 5e-4,
    inverter_learning_rate: float = 1e-3,
) -> Recipe:
    """`inverter_steps`, None for half of `steps`, and `inverter_learning_rate`: of the predictor."""
    stages = gan_then_inverter(
        Inverter(on="real", space="data", feature_weight=config.feature_weight),
        steps=steps,
        inverter_steps=inverter_steps,
        learning_rate=learning_rate,
        inverter_learning_rate=inverter_learning_rate,
    )
    return Recipe(name="igan", model=IGAN, config=config, stages=stages, batch_size=batch_size)
