"""The games as pairs of losses, from (N, ...) judgements: means over the batch (and over a patch critic's places).

With D the critic's logit or score, sp(u) = log(1 + exp(u)), p the data's density and q the generator's:
    non-saturating, minimax   Goodfellow et al. 2014, arXiv:1406.2661, equation 1 and section 3
    least squares             Mao et al. 2017, arXiv:1611.04076, equation 2
    Wasserstein               Arjovsky, Chintala & Bottou 2017, arXiv:1701.07875
    hinge                     Lim & Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import relu, softplus


class AdversarialLosses(NamedTuple):
    """Means over the batch, from judgements (N, ...)."""

    critic: Callable[[Tensor, Tensor], Tensor]
    """(D(x), D(G(z))) -> scalar."""
    generator: Callable[[Tensor], Tensor]
    """D(G(z)) -> scalar."""


def logistic_critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E sp(-D(x)) + E sp(D(G(z))) from logits; log 4 where the critic cannot tell."""
    return softplus(-real).mean() + softplus(fake).mean()


def minimax_generator_loss(fake: Tensor) -> Tensor:
    """-E sp(D(G(z))) from logits; its gradient vanishes where the critic is sure."""
    return -softplus(fake).mean()


def non_saturating_generator_loss(fake: Tensor) -> Tensor:
    """E sp(-D(G(z))) from logits."""
    return softplus(-fake).mean()


def wasserstein_critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E D(G(z)) - E D(x) from scores: minus W1, up to the critic's Lipschitz constant."""
    return fake.mean() - real.mean()


def mean_score_generator_loss(fake: Tensor) -> Tensor:
    """-E D(G(z)) from scores."""
    return -fake.mean()


def hinge_critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E [1 - D(x)]+ + E [1 + D(G(z))]+ from scores."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def least_squares(coding: tuple[float, float, float] = (0.0, 1.0, 1.0)) -> AdversarialLosses:
    """1/2 E (D(x) - b)^2 + 1/2 E (D(G(z)) - a)^2, and 1/2 E (D(G(z)) - c)^2, for a coding (a, b, c)."""
    a, b, c = coding

    def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * (real - b).square().mean() + 0.5 * (fake - a).square().mean()

    def generator_loss(fake: Tensor) -> Tensor:
        return 0.5 * (fake - c).square().mean()

    return AdversarialLosses(critic_loss, generator_loss)


minimax = AdversarialLosses(logistic_critic_loss, minimax_generator_loss)
non_saturating = AdversarialLosses(logistic_critic_loss, non_saturating_generator_loss)
wasserstein = AdversarialLosses(wasserstein_critic_loss, mean_score_generator_loss)
hinge = AdversarialLosses(hinge_critic_loss, mean_score_generator_loss)
