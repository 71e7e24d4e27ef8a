"""Geometric GAN: a support vector machine on the critic's features (Lim & Ye 2017, "Geometric GAN", arXiv:1705.02894).

The critic is a hyperplane in feature space, D(x) = w . f(x) + b, trained as a soft-margin support vector machine; the
generator moves its features along the plane's normal:
    critic      E_x [1 - D(x)]+ + E_z [1 + D(G(z))]+ + ||w||^2 / (2 C)                   (section 4.1, the SVM's primal)
    generator  -E_z D(G(z))                                                       (section 4.2)
The best critic without the norm is the sign of p - q, and the hinge's value then 2 (1 - TV(p, q)).

The paper is silent on C in the experiments; 100 is ours. b is not penalised, nor are the layers that make f.
Deviations: fully connected networks; Adam with rate 2e-4 where the paper has RMSProp; an average of the generator's
weights is what is sampled (a decay of 0.99; 0 switches it off).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gencore import Adam, Loss, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import hinge
from gencore.adversarial.objective import Adversarial, generator_average, two_players
from gencore.config import check
from gencore_gan.parts.networks import DenseGAN, DenseGANConfig

SYSTEM = SystemSpec(
    name="geometric-gan",
    summary="Hinge losses: the critic is a soft-margin hyperplane over its features",
    paper=Paper(
        title="Geometric GAN",
        authors="Lim & Ye",
        year=2017,
        arxiv="1705.02894",
    ),
    model="DenseGAN",
    recipe="geometric_gan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "hidden": (32,), "batch_size": 8},
)


def squared_norm(weight: Tensor, c: float) -> Tensor:
    """||w||^2 / (2 C), a scalar."""
    return weight.square().sum() / (2 * c)


class SoftMargin(Adversarial):
    """The hinge game with a norm on the critic's last layer.

    Logs `norm`: ||w||^2 / (2 C) of the critic's last layer; neither way is better: small is a wide margin.
    """

    def __init__(self, *, c: float) -> None:
        check(c > 0, "c", c, "a positive number")
        super().__init__(hinge)
        self.c = c

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """As `Adversarial`, and the norm of w."""
        loss = super().critic(model, batch)
        norm = squared_norm(model.critic[-1].weight, self.c)
        return Loss(loss.total + norm, {**loss.metrics, "norm": norm.detach()})


def geometric_gan(
    *,
    config: DenseGANConfig = DenseGANConfig(data_shape=(1, 8, 8), output="auto"),
    steps: int = 6000,
    batch_size: int = 64,
    c: float = 100.0,
    learning_rate: float = 2e-4,
    ema_decay: float = 0.99,
) -> Recipe:
    """`c`: the support vector machine's C; large is a weak norm."""
    return Recipe(
        name="geometric-gan",
        model=DenseGAN,
        config=config,
        stages=two_players(SoftMargin(c=c), Adam(learning_rate=learning_rate, betas=(0.5, 0.999)), steps=steps),
        batch_size=batch_size,
        ema=generator_average(ema_decay),
    )
