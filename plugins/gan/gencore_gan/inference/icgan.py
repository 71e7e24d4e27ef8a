"""IcGAN (Perarnau, van de Weijer, Raducanu & Alvarez 2016, "Invertible Conditional GANs for Image Editing",
arXiv:1611.06355).

Three stages. A conditional GAN, whose critic also sees real images x with a wrong y' (the authors' code), sp(u) =
log(1 + exp(u)):
    critic      E sp(-D(x, y)) + 1/2 E sp(D(x, y')) + 1/2 E sp(D(G(z, y), y))
    generator   E sp(-D(G(z, y), y))
then, with the GAN frozen, two encoders:
    E_z   E || z - E_z(G(z, y)) ||^2, on generated images                                             (equation 3)
    E_y   what y an image has, on real ones                                                           (equation 4)
An image is edited by G(E_z(x), y'), y' what one would like it to be: `translate`. What y does not say stays, as far as
E_z has read it.

Deviations: y is a class where the paper has attributes, so equation 4 is a cross-entropy; perceptrons. The wrong pairs
do not show in any figure at this size; the test holds them by their loss alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import Adversarial, condition_of, two_players
from gencore.conditions import ClassLabel
from gencore.nn.dense import mlp
from gencore.noise import GlobalNoise
from gencore.recipes import later_steps
from gencore_gan.conditional.cgan import CGAN
from gencore_gan.parts.inverters import Inverter
from gencore_gan.parts.labelled import LabelledGANConfig

SYSTEM = SystemSpec(
    name="icgan",
    summary="Two encoders invert a conditional GAN: an image keeps its code and gets another class",
    paper=Paper(
        title="Invertible Conditional GANs for Image Editing", authors="Perarnau et al.", year=2016, arxiv="1611.06355"
    ),
    model="IcGAN",
    recipe="icgan",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("reconstruct", "translate", "classify"),
    claims=("compiles", "twice-differentiable", "conditional"),
    tiny={"latent_dim": 4, "hidden": (16,), "batch_size": 8, "encoder_steps": 4, "class_steps": 4},
)


class IcGAN(CGAN):
    """`encoder` is E_z, `classifier` E_y."""

    regions = ("generator", "critic", "encoder", "classifier")

    def __init__(self, config: LabelledGANConfig) -> None:
        super().__init__(config)
        size = math.prod(config.data_shape)
        self.encoder = mlp((size, *config.hidden, config.latent_dim))
        self.classifier = mlp((size, *config.hidden, config.num_classes))

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> z (N, latent_dim), whatever the class."""
        return self.encoder(x.flatten(1))

    def classify(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> the likeliest class of each, (N,) int64."""
        return self.classifier(x.flatten(1)).argmax(1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """G(E_z(x), E_y(x))."""
        return self.generate(self.encode(x), condition=self.classify(x))

    def translate(self, x: Tensor, *, to: Any = None) -> Tensor:
        """x (N, *data_shape) as it would be of class `to`, one for all or one for each; by default of the class after
        its own. Raises GencoreError for a class that there is not."""
        if to is None:
            classes = (self.classify(x) + 1) % self.config.num_classes
        else:
            classes = ClassLabel(count=self.config.num_classes).check(to, len(x)).to(x.device)
        return self.generate(self.encode(x), condition=classes)


class MatchingAware(Adversarial):
    """`Adversarial` whose critic must also tell real data of a wrong class.

    Logs `real` and `fake`, and `wrong`: mean score of data with another class's name; lower is better: it should lie
    below real.
    """

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Right pairs against wrong and generated ones, half each."""
        x, label = batch["x"], condition_of(model, batch)
        assert label is not None
        classes = model.config.num_classes
        wrong = (label + torch.randint(1, classes, label.shape, device=label.device)) % classes
        with torch.no_grad():
            fake = model.generate(model.draw_prior(GlobalNoise.like(x)), condition=label)
        real, mismatched = model.judge(x, condition=label), model.judge(x, condition=wrong)
        judged = model.judge(fake, condition=label)
        total = softplus(-real).mean() + 0.5 * softplus(mismatched).mean() + 0.5 * softplus(judged).mean()
        return Loss(total, {"real": real.mean(), "wrong": mismatched.mean(), "fake": judged.mean()})


class ReadClass(Objective):
    """Phase "classifier": E_y, on real data."""

    def classifier(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Cross-entropy, nats."""
        label = condition_of(model, batch)
        assert label is not None
        return Loss(cross_entropy(model.classifier(batch["x"].flatten(1)), label))


def icgan(
    *,
    config: LabelledGANConfig = LabelledGANConfig(latent_dim=16),
    steps: int = 3000,
    encoder_steps: int | None = None,
    class_steps: int | None = None,
    batch_size: int = 64,
    learning_rate: float = 5e-4,
    encoder_learning_rate: float = 1e-3,
) -> Recipe:
    """`encoder_steps`: of E_z, None for half of `steps`; `class_steps`: of E_y, None for a fifth;
    `encoder_learning_rate`: of both."""
    adam, frozen = Adam(learning_rate=encoder_learning_rate), ("generator", "critic")
    invert = Stage(
        objective=Inverter(on="generated", space="code"),
        phases=(Phase(name="encoder", parts=("encoder",), optimizer=adam),),
        steps=later_steps(encoder_steps, steps, 1 / 2),
        name="encoder",
        frozen=frozen,
    )
    read = Stage(
        objective=ReadClass(),
        phases=(Phase(name="classifier", parts=("classifier",), optimizer=adam),),
        steps=later_steps(class_steps, steps, 1 / 5),
        name="class",
        frozen=(*frozen, "encoder"),
    )
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    return Recipe(
        name="icgan",
        model=IcGAN,
        config=config,
        stages=(*two_players(MatchingAware(non_saturating), optimizer, steps=steps), invert, read),
        batch_size=batch_size,
    )
