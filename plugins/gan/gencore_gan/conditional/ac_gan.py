"""AC-GAN (Odena, Olah & Shlens 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs", arXiv:1610.09585).

    L_S = E log P(S = real | x) + E log P(S = fake | G(z, c))                                            (equation 2)
    L_C = E log P(C = y | x) + E log P(C = c | G(z, c))                                                  (equation 3)
The critic maximises L_S + L_C, the generator L_C - L_S: both want the class to be read off. Here, with D the logit, q
the class head and sp(u) = log(1 + exp(u)), the critic minimises E sp(-D(x)) + E sp(D(G)) - L_C, and the generator, in
the non-saturating form, E sp(-D(G)) - E log q(c | G(z, c)).

Deviations: small networks; the classes of generated examples are those of the batch's real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gencore import Adam, Loss, Objective, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import told_condition, two_players
from gencore.config import check
from gencore.noise import GlobalNoise
from gencore_gan.parts.labelled import ClassHeadGAN, LabelledGANConfig

SYSTEM = SystemSpec(
    name="ac-gan",
    summary="The critic names the class, and the generator is paid for a class that can be named",
    paper=Paper(
        title="Conditional Image Synthesis with Auxiliary Classifier GANs",
        authors="Odena, Olah & Shlens",
        year=2017,
        arxiv="1610.09585",
    ),
    model="ClassHeadGAN",
    recipe="ac_gan",
    roles=("generator", "critic", "sampler"),
    traits=("classify",),
    claims=("compiles", "twice-differentiable", "conditional"),
    tiny={"latent_dim": 4, "hidden": (16,), "batch_size": 8},
)


class AuxiliaryClassification(Objective):
    """Phases "critic" and "generator". `class_weight`: of the class terms, in both; 1 in the paper.

    `classify_generated`: whether the critic's class term sees generated examples, too.

    Logs `real` and `fake`, and `class`.
    """

    def __init__(self, *, class_weight: float = 1.0, classify_generated: bool = True) -> None:
        super().__init__()
        check(class_weight >= 0, "class_weight", class_weight, "0 or more")
        self.class_weight, self.classify_generated = class_weight, classify_generated

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real against generated, and the classes of both."""
        x, label = batch["x"], told_condition(model, batch)
        with torch.no_grad():
            fake = model.generate(model.draw_prior(GlobalNoise.like(x)), condition=label)
        real_logit, real_class = model.critic(x)
        fake_logit, fake_class = model.critic(fake)
        named = cross_entropy(real_class, label)
        if self.classify_generated:
            named = named + cross_entropy(fake_class, label)
        total = non_saturating.critic(real_logit, fake_logit) + self.class_weight * named
        return Loss(total, {"real": real_logit.mean(), "fake": fake_logit.mean(), "class": named})

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Generated examples look real, and like their class."""
        label = told_condition(model, batch)
        logit, classes = model.critic(model.generate(model.draw_prior(GlobalNoise.like(batch["x"])), condition=label))
        named = cross_entropy(classes, label)
        return Loss(non_saturating.generator(logit) + self.class_weight * named, {"class": named})


def ac_gan(
    *,
    config: LabelledGANConfig = LabelledGANConfig(),
    steps: int = 4000,
    batch_size: int = 64,
    class_weight: float = 1.0,
    learning_rate: float = 5e-4,
) -> Recipe:
    """`class_weight`: of the class terms in both losses."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    return Recipe(
        name="ac-gan",
        model=ClassHeadGAN,
        config=config,
        stages=two_players(AuxiliaryClassification(class_weight=class_weight), optimizer, steps=steps),
        batch_size=batch_size,
    )
