"""b-GAN: estimate the density ratio, then minimise a divergence of it (Uehara et al. 2016, "Generative Adversarial Nets
from a Density Ratio Estimation Perspective", arXiv:1610.02920, Algorithm 1).

r(x) > 0 estimates p(x) / q(x), p the data's density and q the generator's. For a convex f with f(1) = 0:
    critic      E_z [f'(r) r - f(r)](G(z)) - E_x f'(r(x))    the Bregman divergence of r from p / q, less a constant
    generator   E_z f(r(G(z)))                               the f-divergence of p from q
divergence   f(r)             f'(r)      f'(r) r - f(r)     critic, less a constant
pearson      (r - 1)^2 / 2    r - 1      (r^2 - 1) / 2      E_q r^2 / 2 - E_p r           (least squares, LSIF)
kl           r log r          log r + 1  r                  E_q r - E_p log r             (KLIEP)
reverse-kl   -log r           -1 / r     log r - 1          E_q log r + E_p 1 / r
The paper takes one f for the ratio and another for the generator where it helps; which is left open. Ours: KL for the
ratio, and the reverse KL for the generator, -log r, whose gradient does not vanish where r is small. (On 8 x 8 digits
Pearson's ratio, or either other generator, loses most classes.) r = softplus of the network's output, or its
exponential; it is held above 1e-30, so that log r stays finite.

Deviations: fully connected networks where the paper has DCGAN's; an average of the generator's weights is what is
sampled (a decay of 0.99; 0 switches it off).
"""

from __future__ import annotations

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
    name="b-gan",
    summary="The critic estimates the density ratio, the generator minimises a divergence of it",
    paper=Paper(
        title="Generative Adversarial Nets from a Density Ratio Estimation Perspective",
        authors="Uehara et al.",
        year=2016,
        arxiv="1610.02920",
    ),
    model="DenseGAN",
    recipe="b_gan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "hidden": (32,), "batch_size": 8},
)

Name = Literal["pearson", "kl", "reverse-kl"]
Link = Literal["softplus", "exp"]


class Convex(NamedTuple):
    """A convex function of the ratio r > 0, any shape."""

    value: Callable[[Tensor], Tensor]
    """f(r)."""
    slope: Callable[[Tensor], Tensor]
    """f'(r)."""
    remainder: Callable[[Tensor], Tensor]
    """f'(r) r - f(r)."""


CONVEX: Mapping[Name, Convex] = {
    "pearson": Convex(lambda r: (r - 1).square() / 2, lambda r: r - 1, lambda r: (r.square() - 1) / 2),
    "kl": Convex(lambda r: r * r.log(), lambda r: r.log() + 1, lambda r: r),
    "reverse-kl": Convex(lambda r: -r.log(), lambda r: -1 / r, lambda r: r.log() - 1),
}
LINKS: Mapping[Link, Callable[[Tensor], Tensor]] = {
    "softplus": lambda v: softplus(v).clamp_min(1e-30),
    "exp": lambda v: v.exp().clamp_min(1e-30),
}


def ratio_losses(ratio_divergence: Name, generator_divergence: Name, link: Link) -> AdversarialLosses:
    """The game of a divergence for the ratio and one for the generator, r being `link` of the critic's output."""

    def critic(real: Tensor, fake: Tensor) -> Tensor:
        convex, ratio = CONVEX[ratio_divergence], LINKS[link]
        return convex.remainder(ratio(fake)).mean() - convex.slope(ratio(real)).mean()

    def generator(fake: Tensor) -> Tensor:
        return CONVEX[generator_divergence].value(LINKS[link](fake)).mean()

    return AdversarialLosses(critic, generator)


def b_gan(
    *,
    config: DenseGANConfig = DenseGANConfig(data_shape=(1, 8, 8), output="auto"),
    steps: int = 6000,
    batch_size: int = 64,
    ratio_divergence: Name = "kl",
    generator_divergence: Name = "reverse-kl",
    link: Link = "softplus",
    learning_rate: float = 2e-4,
    ema_decay: float = 0.99,
) -> Recipe:
    """`link`: r as a function of the network's output."""
    for name, value, known in (
        ("ratio_divergence", ratio_divergence, CONVEX),
        ("generator_divergence", generator_divergence, CONVEX),
        ("link", link, LINKS),
    ):
        check(value in known, name, value, f"one of {list(known)}")
    objective = Adversarial(ratio_losses(ratio_divergence, generator_divergence, link))
    return Recipe(
        name="b-gan",
        model=DenseGAN,
        config=config,
        stages=two_players(objective, Adam(learning_rate=learning_rate, betas=(0.5, 0.999)), steps=steps),
        batch_size=batch_size,
        ema=generator_average(ema_decay),
    )
