"""f-GAN: any f-divergence as a game (Nowozin, Cseke & Tomioka 2016, "f-GAN: Training Generative Neural Samplers using
Variational Divergence Minimization", arXiv:1606.00709).

    D_f(P || Q) = E_q f(p(x) / q(x)) >= sup_T E_p T(x) - E_q f*(T(x))                          (equation 4)
with f* the convex conjugate of f, and T = g_f(D(x)) for an output activation g_f into the domain of f*  (equation 6):
    critic                      -E_x g_f(D(x)) + E_z f*(g_f(D(G(z))))
    generator, variational      -E_z f*(g_f(D(G(z))))                             (equation 6, minimised)
    generator, non-saturating   -E_z g_f(D(G(z)))                                 (section 3.2)

divergence         f(u)                                g_f(v)            f*(t)               (tables 1, 2 and 6)
kl                 u log u                             v                 exp(t - 1)
reverse-kl         -log u                              -exp(-v)          -1 - log(-t)
pearson            (u - 1)^2                           v                 t^2 / 4 + t
hellinger          (sqrt u - 1)^2                      1 - exp(-v)       t / (1 - t)
jensen-shannon     -(u + 1) log((1 + u) / 2) + u log u log 2 - sp(-v)    -log(2 - exp t)
gan                u log u - (u + 1) log(u + 1)        -sp(-v)           -log(1 - exp t)
total-variation    |u - 1| / 2                         tanh(v) / 2       t
"jensen-shannon" is twice the usual Jensen-Shannon divergence; "gan" is that minus log 4. The composition f*(g_f(v)) is
written out below, without the logarithm of an exponential.

The default is "jensen-shannon": "kl", "reverse-kl" and "pearson", whose T has no upper end, lose most classes of 8 x 8
digits, by either generator's rule (the paper's figures are on 28 x 28).
Deviations: Adam's beta1 of 0.5 and rate 1e-3 (1e-4 there), for small images; LeakyReLU networks; an average of the
generator's weights is what is sampled (a decay of 0.99; 0 switches it off).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from torch import Tensor
from torch.nn.functional import softplus

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import AdversarialLosses
from gencore.adversarial.objective import Adversarial, generator_average, two_players
from gencore.config import check
from gencore_gan.parts.networks import DenseGAN, DenseGANConfig

SYSTEM = SystemSpec(
    name="f-gan",
    summary="Any of seven f-divergences as a game, through its convex conjugate",
    paper=Paper(
        title="f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization",
        authors="Nowozin, Cseke & Tomioka",
        year=2016,
        arxiv="1606.00709",
    ),
    model="DenseGAN",
    recipe="f_gan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "hidden": (32,), "batch_size": 8},
)

Name = Literal["kl", "reverse-kl", "pearson", "hellinger", "jensen-shannon", "gan", "total-variation"]
GeneratorLoss = Literal["variational", "non-saturating"]


class Divergence(NamedTuple):
    """Both are functions of the critic's output v, any shape."""

    activation: Callable[[Tensor], Tensor]
    """T = g_f(v)."""
    conjugate: Callable[[Tensor], Tensor]
    """f*(g_f(v))."""


DIVERGENCES: Mapping[Name, Divergence] = {
    "kl": Divergence(lambda v: v, lambda v: (v - 1).exp()),
    "reverse-kl": Divergence(lambda v: -(-v).exp(), lambda v: v - 1),
    "pearson": Divergence(lambda v: v, lambda v: v.square() / 4 + v),
    "hellinger": Divergence(lambda v: -(-v).expm1(), lambda v: v.expm1()),
    "jensen-shannon": Divergence(lambda v: math.log(2) - softplus(-v), lambda v: softplus(v) - math.log(2)),
    "gan": Divergence(lambda v: -softplus(-v), softplus),
    "total-variation": Divergence(lambda v: v.tanh() / 2, lambda v: v.tanh() / 2),
}


def bound(divergence: Divergence, real: Tensor, fake: Tensor) -> Tensor:
    """E_p g_f(D(x)) - E_q f*(g_f(D(G(z)))), a scalar, at most D_f(P || Q) in expectation."""
    return divergence.activation(real).mean() - divergence.conjugate(fake).mean()


def f_losses(divergence: Name, generator_loss: GeneratorLoss) -> AdversarialLosses:
    """The game of a divergence."""

    def critic(real: Tensor, fake: Tensor) -> Tensor:
        return -bound(DIVERGENCES[divergence], real, fake)

    def generator(fake: Tensor) -> Tensor:
        activation, conjugate = DIVERGENCES[divergence]
        return -(activation if generator_loss == "non-saturating" else conjugate)(fake).mean()

    return AdversarialLosses(critic, generator)


def f_gan(
    *,
    config: DenseGANConfig = DenseGANConfig(data_shape=(1, 8, 8), output="auto"),
    steps: int = 3000,
    batch_size: int = 64,
    divergence: Name = "jensen-shannon",
    generator_loss: GeneratorLoss = "non-saturating",
    learning_rate: float = 1e-3,
    ema_decay: float = 0.99,
) -> Recipe:
    """`divergence`: the rows of the table in this file's header."""
    check(divergence in DIVERGENCES, "divergence", divergence, f"one of {list(DIVERGENCES)}")
    objective = Adversarial(f_losses(divergence, generator_loss))
    return Recipe(
        name="f-gan",
        model=DenseGAN,
        config=config,
        stages=two_players(objective, Adam(learning_rate=learning_rate, betas=(0.5, 0.999)), steps=steps),
        batch_size=batch_size,
        ema=generator_average(ema_decay),
    )
