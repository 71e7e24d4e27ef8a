"""The linear-Gaussian model x = W z + 0.5 noise, z in the plane, x in six dimensions: everything about it is known.

log p(x) = log N(x; 0, W W^T + s^2 I). The posterior is N(P^-1 W^T x / s^2, P^-1) with P = I + W^T W / s^2. The best
posterior with a diagonal covariance keeps the mean and has variances 1 / P_ii; it misses log p(x) by GAP for every x.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

import gencore
from gencore.data import arrays

WEIGHTS = torch.tensor([[1.0, 0.9], [0.9, 1.0], [1.2, 1.0], [0.8, 0.9], [1.0, 1.1], [0.7, 0.7]])
STD = 0.5
PRECISION = torch.eye(2) + WEIGHTS.T @ WEIGHTS / STD**2
GAP = 0.5 * (PRECISION.diagonal().log().sum() - PRECISION.logdet()).item()
POSTERIOR_MEAN = PRECISION.inverse() @ WEIGHTS.T / STD**2
"""(2, 6): times x."""


def draw(count: int, seed: int = 0) -> Tensor:
    """x (count, 6)."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, 2, generator=generator)
    return z @ WEIGHTS.T + STD * torch.randn(count, 6, generator=generator)


def log_prob(x: Tensor) -> Tensor:
    """log p(x), (N,) nats."""
    covariance = WEIGHTS @ WEIGHTS.T + STD**2 * torch.eye(6)
    return torch.distributions.MultivariateNormal(torch.zeros(6), covariance).log_prob(x)


def recipe(system: str, **overrides: Any) -> gencore.Recipe:
    """A linear version of a system, with the model's own noise."""
    return gencore.recipe(system, data_shape=(6,), latent_dim=2, hidden=(), decoder_std=STD, **overrides)


@torch.no_grad()
def set_true_decoder(model: Any) -> None:
    """p(x | z) = N(W z, s^2 I)."""
    linear = model.decoder[0][0]
    linear.weight.copy_(WEIGHTS)
    linear.bias.zero_()


@torch.no_grad()
def best_diagonal_vae() -> Any:
    """A VAE with the true decoder and the best diagonal posterior."""
    made = recipe("vae")
    model: Any = made.model(made.config)
    set_true_decoder(model)
    encoder = model.encoder[1][0]
    encoder.weight.copy_(torch.cat([POSTERIOR_MEAN, torch.zeros(2, 6)]))
    encoder.bias.copy_(torch.cat([torch.zeros(2), -PRECISION.diagonal().log()]))
    return model.eval()


@torch.no_grad()
def exact_flow_vae() -> Any:
    """An IAF-VAE of one linear step whose posterior is the true one.

    With u = posterior - mean: u_1 = s_1 e_1 and u_2 = c u_1 + s_2 e_2. The step is z_1 = g y_1 and
    z_2 = g y_2 + (1 - g) a z_1', on y from the base; so y_1 = z_1 / g and a = c g / (1 - g).
    """
    made = recipe("iaf-vae", likelihood="gaussian", flow_steps=1, flow_hidden=(), context_dim=0)
    model: Any = made.model(made.config)
    set_true_decoder(model)
    covariance = PRECISION.inverse()
    slope = covariance[1, 0] / covariance[0, 0]
    variances = torch.stack([covariance[0, 0], covariance[1, 1] - slope * covariance[1, 0]])
    gate = torch.sigmoid(torch.tensor(1.0))
    layer = model.flow.steps[0].layers[0]
    layer.weight.zero_()
    layer.weight[1, 0] = slope * gate / (1 - gate)
    layer.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 1.0]))
    means = torch.stack([POSTERIOR_MEAN[0], POSTERIOR_MEAN[1] - slope * POSTERIOR_MEAN[0]]) / gate
    encoder = model.encoder[1][0]
    encoder.weight.copy_(torch.cat([means, torch.zeros(2, 6)]))
    encoder.bias.copy_(torch.cat([torch.zeros(2), (variances / gate**2).log()]))
    return model.eval()


def gap(model: gencore.Model, k: int, count: int = 4000) -> float:
    """Mean log p(x) - L_k over fresh x, in nats."""
    x = draw(count, seed=1)
    return (log_prob(x) - model.bound(x, k)).mean().item()


def posterior_only(made: gencore.Recipe, steps: int) -> gencore.Recipe:
    """The recipe without the decoder's training, the rate falling to 0 along a cosine."""
    stage = made.stages[0]
    phase = dataclasses.replace(
        stage.phases[0],
        parts=tuple(part for part in stage.phases[0].parts if part != "decoder"),
        schedule=lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)),
    )
    return dataclasses.replace(made, stages=(dataclasses.replace(stage, phases=(phase,), steps=steps),))


def with_the_true_decoder(made: gencore.Recipe, seed: int = 0) -> Any:
    """Trained on draws from the truth, the decoder given."""
    trainer = gencore.Trainer(made, arrays(draw(20_000)), seed=seed, cpu=True)
    set_true_decoder(trainer.model)
    return trainer.fit().eval()
