"""CatGAN (Springenberg 2016, "Unsupervised and Semi-supervised Learning with Categorical Generative Adversarial
Networks", arXiv:1511.06390).

A critic of K classes has no class for generated data: it must be sure of real data, use all classes alike, and not be
sure of generated data. With p(y | x) its softmax and H the entropy in nats:
    critic      -H(E_x p(y | x)) + E_x H(p(y | x)) - E_z H(p(y | G(z))) + label_weight CE         (equations 7 and 9)
    generator   -H(E_z p(y | G(z))) + E_z H(p(y | G(z)))                                          (equation 7)
The means over data are over a batch. Without labels (label_weight 0) the classes are clusters, of no given order.

Deviations: perceptrons; weight normalisation in the critic where the paper has batch normalisation. Noise in the critic
(first_noise, layer_noise), as ssl-gan has it, is off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gencore import Loss, Objective, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore.noise import GlobalNoise
from gencore_gan.parts.semi_supervised import ClassifyingGAN, ClassifyingGANConfig, semi_supervised_recipe

SYSTEM = SystemSpec(
    name="catgan",
    summary="The critic must be sure of real data's class and unsure of generated data's",
    paper=Paper(
        title="Unsupervised and Semi-supervised Learning with Categorical Generative Adversarial Networks",
        authors="Springenberg",
        year=2016,
        arxiv="1511.06390",
    ),
    model="CatGAN",
    recipe="catgan",
    roles=("generator", "critic", "sampler"),
    traits=("classify",),
    claims=("compiles", "twice-differentiable"),
    tiny={"latent_dim": 4, "hidden": (16,), "batch_size": 8, "num_labels": 10},
)


def entropy(logits: Tensor) -> Tensor:
    """H of softmax(logits), (N, K) -> (N,) nats: 0 when sure, log K when not at all."""
    return torch.special.entr(logits.softmax(1)).sum(1)


def entropy_of_mean(logits: Tensor) -> Tensor:
    """H of the mean of softmax(logits) over the batch, (N, K) -> a scalar in nats."""
    return torch.special.entr(logits.softmax(1).mean(0)).sum()


class CatGAN(ClassifyingGAN):
    """What is real is what the critic is sure of."""

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) log K - H(p(y | x)), nats: from 0 for unsure to log K, larger for real."""
        return math.log(self.config.num_classes) - entropy(self.class_logits(x))


class Categorical(Objective):
    """Phases "critic" and "generator", on x, label (few) and x_unlabelled. `unlabelled_weight`: of the entropies; with
    0 the critic learns from the labels alone.

    Logs `named`, and `real`: entropy of the classes of data, nats; lower is better. `fake`: that of generated examples,
    nats; neither way is better: the critic wants it high, the generator low.
    """

    def __init__(self, *, label_weight: float, unlabelled_weight: float) -> None:
        super().__init__()
        check(label_weight >= 0, "label_weight", label_weight, "0 or more")
        check(unlabelled_weight >= 0, "unlabelled_weight", unlabelled_weight, "0 or more")
        self.label_weight, self.unlabelled_weight = label_weight, unlabelled_weight

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Sure of real data, of all classes alike, unsure of generated data; right on the labelled."""
        with torch.no_grad():
            fake = model.generate(model.draw_prior(GlobalNoise.like(batch["x_unlabelled"])))
        real, judged = model.class_logits(batch["x_unlabelled"]), model.class_logits(fake)
        named = cross_entropy(model.class_logits(batch["x"]), batch["label"])
        game = -entropy_of_mean(real) + entropy(real).mean() - entropy(judged).mean()
        total = self.label_weight * named + self.unlabelled_weight * game
        return Loss(total, {"named": named, "real": entropy(real).mean(), "fake": entropy(judged).mean()})

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Make the critic sure, of all classes alike."""
        judged = model.class_logits(model.generate(model.draw_prior(GlobalNoise.like(batch["x_unlabelled"]))))
        return Loss(-entropy_of_mean(judged) + entropy(judged).mean())


def catgan(
    *,
    config: ClassifyingGANConfig = ClassifyingGANConfig(hidden=(128, 128), first_noise=0.0, layer_noise=0.0),
    steps: int = 3000,
    batch_size: int = 64,
    num_labels: int = 100,
    label_weight: float = 1.0,
    unlabelled_weight: float = 1.0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`num_labels` examples, equally many of each class, keep their labels. `label_weight`: the paper's lambda."""
    objective = Categorical(label_weight=label_weight, unlabelled_weight=unlabelled_weight)
    return semi_supervised_recipe(
        "catgan",
        CatGAN,
        config,
        objective,
        steps=steps,
        batch_size=batch_size,
        num_labels=num_labels,
        learning_rate=learning_rate,
    )
