"""BEGAN: an autoencoder as critic, and a balance held by feedback (Berthelot, Schumm & Metz 2017, "BEGAN: Boundary
Equilibrium Generative Adversarial Networks", arXiv:1703.10717).

With D an autoencoder and L(v) = |v - D(v)|, mean over the numbers of an image (section 3.1):
    critic      E_x L(x) - k E_z L(G(z))                                                             (section 3.4)
    generator   E_z L(G(z))
    k <- k + lambda_k (gamma E_x L(x) - E_z L(G(z))), held in [0, 1], from 0
    M = E_x L(x) + |gamma E_x L(x) - E_z L(G(z))|                                    (section 3.4.1, a metric here)
gamma is the diversity ratio: the generator rests where its images are rebuilt gamma times as badly as data.

k and M say nothing of quality: both look right on a generator that has collapsed to one image, so look at the samples.
On 8 x 8 digits it does so where the code holds a picture whole (16 numbers, Frechet distance 313) or the rate is 1e-3;
with 6 numbers, a k that follows fast (0.05 where the paper has 0.001) and gamma = 0.8 strokes of many kinds come out,
and three classes hardly ever (59).

The paper does not say which generated images the feedback takes: here the critic's own, measured in its step.
Deviations: the generator begins with weights of its own, not the decoder's; no vanishing residuals (section 3.5);
LeakyReLU where the paper has ELU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gencore import Adam, Loss, Objective, Paper, Recipe, SystemSpec
from gencore.adversarial.objective import generator_average, two_players
from gencore.config import check
from gencore.distributed import process_count, sum_over_processes
from gencore.noise import GlobalNoise
from gencore_gan.parts.autoencoder_critic import AutoencoderGAN, AutoencoderGANConfig

SYSTEM = SystemSpec(
    name="began",
    summary="The critic is an autoencoder; feedback holds its errors on data and samples in balance",
    paper=Paper(
        title="BEGAN: Boundary Equilibrium Generative Adversarial Networks",
        authors="Berthelot, Schumm & Metz",
        year=2017,
        arxiv="1703.10717",
    ),
    model="BEGAN",
    recipe="began",
    roles=("generator", "critic", "sampler"),
    traits=("reconstruct",),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 4, "code_dim": 4, "width": 4, "batch_size": 8},
)


class BEGAN(AutoencoderGAN):
    """A generator against an autoencoder."""

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape) -> L(x), (N,), smaller for real."""
        return (self.critic(x) - x).abs().flatten(1).mean(1)


def updated_share(k: Tensor, real: Tensor, fake: Tensor, *, gamma: float, rate: float) -> Tensor:
    """The next k from the mean errors on data and on generated images, all scalars."""
    return (k + rate * (gamma * real - fake)).clamp(0, 1)


def convergence(real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    """M, from the mean errors on data and on generated images."""
    return real + (gamma * real - fake).abs()


class Equilibrium(Objective):
    """Phases "critic" and "generator"; the buffer `k` is the paper's k_t.

    Logs `real`: mean error of rebuilt data; lower is better. `fake`: mean error of rebuilt generated examples; neither
    way is better: it should be gamma times real. `convergence`: the paper's M; lower is better.
    """

    k: Tensor

    def __init__(self, *, gamma: float, k_rate: float) -> None:
        super().__init__()
        check(gamma > 0, "gamma", gamma, "a positive number; the paper has 0.3 to 0.7")
        check(k_rate >= 0, "k_rate", k_rate, "0 or more")
        self.gamma, self.k_rate = gamma, k_rate
        self.register_buffer("k", torch.zeros(()))

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"] and as many new examples; hands over the two mean errors."""
        x = batch["x"]
        with torch.no_grad():
            generated = model.generate(model.draw_prior(GlobalNoise.like(x)))
        real, fake = model.judge(x).mean(), model.judge(generated).mean()
        metrics = {"real": real.detach(), "fake": fake.detach()}
        metrics["convergence"] = convergence(metrics["real"], metrics["fake"], self.gamma)
        seen = torch.stack([metrics["real"], metrics["fake"]])
        return Loss(real - self.k * fake, metrics, seen=seen)

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On as many new examples as batch["x"] has."""
        return Loss(model.judge(model.generate(model.draw_prior(GlobalNoise.like(batch["x"])))).mean())

    def after_step(self, model: Any, phase: str, seen: Sequence[Tensor]) -> None:
        """The feedback, after the critic's step, with the errors averaged over all processes."""
        if phase == "critic":
            real, fake = sum_over_processes(torch.stack(list(seen)).mean(0)) / process_count()
            self.k.copy_(updated_share(self.k, real, fake, gamma=self.gamma, rate=self.k_rate))


def began(
    *,
    config: AutoencoderGANConfig = AutoencoderGANConfig(code_dim=6),
    steps: int = 3000,
    batch_size: int = 64,
    gamma: float = 0.8,
    k_rate: float = 0.05,
    learning_rate: float = 5e-4,
    ema_decay: float = 0.99,
) -> Recipe:
    """`gamma`: the diversity ratio; `k_rate`: the paper's lambda_k."""
    objective = Equilibrium(gamma=gamma, k_rate=k_rate)
    return Recipe(
        name="began",
        model=BEGAN,
        config=config,
        stages=two_players(objective, Adam(learning_rate=learning_rate, betas=(0.5, 0.999)), steps=steps),
        batch_size=batch_size,
        ema=generator_average(ema_decay),
    )
