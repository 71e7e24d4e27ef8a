"""Boundary-seeking GAN, continuous data (Hjelm et al. 2018, "Boundary-Seeking Generative Adversarial Networks",
arXiv:1702.08431).

With D the critic's logit, log D - log(1 - D) in the paper's probabilities, and sp(u) = log(1 + exp(u)):
    critic      E_x sp(-D(x)) + E_z sp(D(G(z)))
    generator   1/2 E_z D(G(z))^2                                                  (section 3.3, equation 16)
The generator seeks the boundary D = 0, where the critic cannot tell, and stops there; a non-saturating one goes on as
far as the critic rises.

Deviations: fully connected networks where the paper has DCGAN's; an average of the generator's weights is what is
sampled (a decay of 0.99; 0 switches it off). Discrete data have a page of their own,
`gencore_gan.objectives.bs_gan_discrete`.
"""

from __future__ import annotations

from torch import Tensor

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import AdversarialLosses, logistic_critic_loss
from gencore.adversarial.objective import Adversarial, generator_average, two_players
from gencore_gan.parts.networks import DenseGAN, DenseGANConfig

SYSTEM = SystemSpec(
    name="bs-gan",
    summary="The generator seeks the critic's decision boundary",
    paper=Paper(
        title="Boundary-Seeking Generative Adversarial Networks",
        authors="Hjelm et al.",
        year=2018,
        arxiv="1702.08431",
    ),
    model="DenseGAN",
    recipe="bs_gan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "hidden": (32,), "batch_size": 8},
)


def boundary_generator_loss(fake: Tensor) -> Tensor:
    """1/2 E D(G(z))^2 from logits; 0 on the boundary."""
    return 0.5 * fake.square().mean()


def bs_gan(
    *,
    config: DenseGANConfig = DenseGANConfig(data_shape=(1, 8, 8), output="auto"),
    steps: int = 6000,
    batch_size: int = 64,
    learning_rate: float = 2e-4,
    ema_decay: float = 0.99,
) -> Recipe:
    """One critic step for one of the generator."""
    objective = Adversarial(AdversarialLosses(logistic_critic_loss, boundary_generator_loss))
    return Recipe(
        name="bs-gan",
        model=DenseGAN,
        config=config,
        stages=two_players(objective, Adam(learning_rate=learning_rate, betas=(0.5, 0.999)), steps=steps),
        batch_size=batch_size,
        ema=generator_average(ema_decay),
    )
