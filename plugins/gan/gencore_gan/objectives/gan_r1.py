"""R1: a critic flat at the data (Mescheder, Geiger & Nowozin 2018, "Which Training Methods for GANs do actually
Converge?", arXiv:1801.04406).

With D the critic's logit and sp(u) = log(1 + exp(u)):
    critic      E_x sp(-D(x)) + E_z sp(D(G(z))) + gamma / 2 E_x ||grad_x D(x)||^2              (equations 1 and 9)
    generator   E_z sp(-D(G(z)))
Without the penalty the game circles its solution for ever, with it it is locally convergent (theorem 4.1): on the
Dirac-GAN, where data and generated examples are one point each, the distance to the solution shrinks to nothing.
gamma = 10, a single critic step, no momentum (beta1 = 0), no batch normalisation, and an average of the generator's
weights with a decay of 0.999 (section 6, appendix D).

Deviations: the family's ConvGAN where the paper has residual networks; Adam with betas (0, 0.99) where it has RMSProp
with 0.99, which is the same but for the bias correction; rate 5e-4 where it has 1e-4, for small images.
"""

from __future__ import annotations

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import Adversarial, generator_average, two_players
from gencore.adversarial.penalties import R1
from gencore_gan.parts.networks import ConvGAN, ConvGANConfig

SYSTEM = SystemSpec(
    name="gan-r1",
    summary="The non-saturating game with a critic held flat at the data",
    paper=Paper(
        title="Which Training Methods for GANs do actually Converge?",
        authors="Mescheder, Geiger & Nowozin",
        year=2018,
        arxiv="1801.04406",
    ),
    model="ConvGAN",
    recipe="gan_r1",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "width": 8, "batch_size": 8},
)


def gan_r1(
    *,
    config: ConvGANConfig = ConvGANConfig(data_shape=(1, 8, 8), generator_norm="none", critic_norm="none"),
    steps: int = 4000,
    batch_size: int = 64,
    r1_weight: float = 10.0,
    learning_rate: float = 5e-4,
    ema_decay: float = 0.999,
) -> Recipe:
    """`r1_weight`: the paper's gamma."""
    objective = Adversarial(non_saturating, penalties=(R1(weight=r1_weight),))
    return Recipe(
        name="gan-r1",
        model=ConvGAN,
        config=config,
        stages=two_players(objective, Adam(learning_rate=learning_rate, betas=(0.0, 0.99)), steps=steps),
        batch_size=batch_size,
        ema=generator_average(ema_decay),
    )
