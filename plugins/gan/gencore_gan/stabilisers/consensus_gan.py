"""Both players step at once and agree to calm down (Mescheder, Nowozin & Geiger 2017, "The Numerics of GANs",
arXiv:1705.10461, Algorithm 2).

With sp(u) = log(1 + exp(u)), D the critic's logit and v the stacked gradients (grad_theta L_G, grad_psi L_D) of
    L_D = E_x sp(-D(x)) + E_z sp(D(G(z))),   L_G = E_z sp(-D(G(z))):
    step of both along v + weight grad_(theta, psi) 1/2 ||v||^2                                     (section 4)
The Jacobian of v has imaginary eigenvalues where players chase each other; the second term adds to their real parts, so
that small steps converge.

Deviations: without a name of data it plays the Dirac-GAN (gencore_gan.parts.players), with gradient descent, as the
analysis has it; other data get RMSprop of rate 1e-4, as in the paper's experiments. 1/2 ||v||^2 is that of the batch's
gradients, whose expectation is too large by half the variance of v; the paper's program does the same.
"""

from __future__ import annotations

from gencore import SGD, Paper, Phase, Recipe, RMSprop, Stage, SystemSpec
from gencore.adversarial.consensus import ConsensusAdversarial
from gencore.adversarial.losses import non_saturating
from gencore_gan.parts.players import PlayersConfig, PlayersGAN, data_of

SYSTEM = SystemSpec(
    name="consensus-gan",
    summary="Joint steps along the game's gradients and down the length of their field",
    paper=Paper(
        title="The Numerics of GANs",
        authors="Mescheder, Nowozin & Geiger",
        year=2017,
        arxiv="1705.10461",
    ),
    model="PlayersGAN",
    recipe="consensus_gan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "width": 8, "batch_size": 8},
)


def consensus_gan(
    *,
    config: PlayersConfig = PlayersConfig(),
    steps: int = 1500,
    batch_size: int = 64,
    weight: float = 1.0,
    learning_rate: float | None = None,
) -> Recipe:
    """`weight`: the paper's gamma. `learning_rate`: 0.1 on the Dirac-GAN and 1e-4 elsewhere, unless said."""
    rate = learning_rate if learning_rate is not None else 0.1 if config.is_point else 1e-4
    optimizer = SGD(learning_rate=rate) if config.is_point else RMSprop(learning_rate=rate)
    phase = Phase(name="players", parts=("generator", "critic"), optimizer=optimizer, joint=True)
    objective = ConsensusAdversarial(non_saturating, weight=weight)
    return Recipe(
        name="consensus-gan",
        model=PlayersGAN,
        config=config,
        stages=(Stage(objective=objective, phases=(phase,), steps=steps),),
        batch_size=batch_size,
        data=data_of(config),
    )
