"""Stochastic gradient Hamiltonian Monte Carlo (Chen, Fox & Guestrin 2014, arXiv:1402.4102, equation 15), as gradient
descent with momentum on a loss that carries the noise:

    v <- (1 - friction) v - rate grad U + N(0, 2 friction rate),   theta <- theta + v
In stationarity theta ~ exp(-U), for small rates. torch's momentum accumulates gradients, v = -rate m, so that noise of
variance 2 friction / rate on the gradient is what equation 15 asks for; a term <theta, noise> of the loss has it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from gencore.config import check
from gencore.distributed import process_count
from gencore.optimizers import SGD


def sghmc(learning_rate: float, friction: float) -> SGD:
    """The steps. `friction`: the share of the velocity that is lost in each."""
    check(0 < friction <= 1, "friction", friction, "a share above 0, up to 1")
    return SGD(learning_rate=learning_rate, momentum=1 - friction)


def gradient_noise(parameters: Iterable[Tensor], *, learning_rate: float, friction: float) -> Tensor:
    """A term whose gradient is the noise, from torch's global stream. Gradients are averaged over processes, each with
    noise of its own, so each has more of it."""
    std = (2 * friction / learning_rate * process_count()) ** 0.5
    return torch.stack([(p * (std * torch.randn_like(p))).sum() for p in parameters]).sum()
