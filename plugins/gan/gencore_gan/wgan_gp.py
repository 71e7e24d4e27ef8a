"""WGAN-GP: a 1-Lipschitz critic by gradient penalty (Gulrajani et al. 2017, "Improved Training of Wasserstein GANs",
arXiv:1704.00028, Algorithm 1).

    critic     E_z D(G(z)) - E_x D(x) + weight E_u (||grad_u D(u)|| - 1)^2,  u = t x + (1 - t) G(z), t ~ U[0, 1]
    generator -E_z D(G(z))
Weight 10, 5 critic steps, Adam with rate 1e-4 and betas (0, 0.9), no batch normalisation in the critic (section 4),
since the penalty is on each input's own gradient; layer normalisation instead.

Deviations: none in the algorithm; images go through the family's ConvGAN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from gencore import Adam, Loss, Recipe
from gencore_gan.adversarial import Adversarial, two_players
from gencore_gan.networks import network
from gencore_gan.wgan import wasserstein


def gradient_norms(judge: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """||grad_u D(u)|| for each of points (N, ...), (N,), differentiable again."""
    points = points.detach().requires_grad_()
    (slope,) = torch.autograd.grad(judge(points).sum(), points, create_graph=True)
    return slope.flatten(1).norm(dim=1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GradientPenalty:
    """weight E_u (||grad_u D(u)|| - center)^2 on the segments between real and generated examples."""

    weight: float = 10.0
    center: float = 1.0

    def __call__(self, judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Loss:
        """The penalty, and the mean norm as a metric."""
        share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
        norms = gradient_norms(judge, torch.lerp(fake, real, share))
        return Loss(self.weight * (norms - self.center).square().mean(), {"slope": norms.detach().mean()})


def wgan_gp(
    *,
    data_shape: tuple[int, ...] = (1, 8, 8),
    steps: int = 4000,
    batch_size: int = 64,
    latent_dim: int = 64,
    width: int = 32,
    critic_steps: int = 5,
    gradient_penalty: float = 10.0,
    learning_rate: float = 1e-4,
) -> Recipe:
    """`gradient_penalty`: the paper's lambda."""
    model, config = network(data_shape, latent_dim=latent_dim, width=width, critic_norm="layer")
    optimizer = Adam(learning_rate=learning_rate, betas=(0.0, 0.9))
    objective = Adversarial(wasserstein, penalties=(GradientPenalty(weight=gradient_penalty),))
    return Recipe(
        name="wgan-gp",
        model=model,
        config=config,
        stages=two_players(objective, optimizer, steps=steps, critic_steps=critic_steps),
        batch_size=batch_size,
    )
