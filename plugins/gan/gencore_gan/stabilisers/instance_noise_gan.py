"""Noise on what the critic sees, less and less of it (Sonderby et al. 2017, "Amortised MAP Inference for Image
Super-resolution", arXiv:1610.04490, section 3.4).

With D the critic's logit, sp(u) = log(1 + exp(u)) and e ~ N(0, sigma_t^2) drawn anew for every example and every use:
    critic     E_x sp(-D(x + e)) + E_z sp(D(G(z) + e))
    generator  E_z sp(-D(G(z) + e))
    sigma_t    sigma (1 - t / steps), 0 at the end
Both densities become smooth and overlap, so that the critic cannot be sure; at the end they are the true ones. Samples
have no noise.

Deviations: the paper uses it for super-resolution and gives no schedule but "annealed"; here it is linear. Without a
name of data it plays the Dirac-GAN (gencore_gan.parts.players), with gradient descent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gencore import Loss, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import Adversarial, two_players
from gencore.config import check
from gencore_gan.parts.players import PlayersConfig, PlayersGAN, data_of, optimizer_of

SYSTEM = SystemSpec(
    name="instance-noise-gan",
    summary="The critic sees its examples through noise that is annealed to none",
    paper=Paper(
        title="Amortised MAP Inference for Image Super-resolution",
        authors="Sonderby et al.",
        year=2017,
        arxiv="1610.04490",
    ),
    model="PlayersGAN",
    recipe="instance_noise_gan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "width": 8, "batch_size": 8},
)


class ThroughNoise:
    """A model whose critic sees x + sigma e, e ~ N(0, 1); the rest is the model's own."""

    def __init__(self, model: Any, sigma: Tensor) -> None:
        self.model, self.sigma = model, sigma

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """The model's judgement of x (N, ...) under fresh noise, (N,)."""
        return self.model.judge(x + self.sigma.to(x.dtype) * torch.randn_like(x), condition=condition)


class NoisyAdversarial(Adversarial):
    """The non-saturating game through noise; `steps_done` counts the critic's steps."""

    def __init__(self, *, sigma: float, steps: int) -> None:
        check(sigma >= 0, "sigma", sigma, "0 or more")
        super().__init__(non_saturating)
        self.sigma, self.steps = sigma, steps
        self.steps_done: Tensor
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.int64))

    def noise_level(self) -> Tensor:
        """sigma_t, a scalar."""
        return self.sigma * (1 - self.steps_done / max(self.steps, 1)).clamp(min=0.0)

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """As `Adversarial`, both kinds of examples under noise of their own."""
        return super().critic(ThroughNoise(model, self.noise_level()), batch)

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """As `Adversarial`, the new examples under noise."""
        return super().generator(ThroughNoise(model, self.noise_level()), batch)

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Count the critic's steps."""
        self.steps_done += phase == "critic"


def instance_noise_gan(
    *,
    config: PlayersConfig = PlayersConfig(),
    steps: int = 1500,
    batch_size: int = 64,
    sigma: float = 0.5,
    learning_rate: float | None = None,
) -> Recipe:
    """`sigma`: the noise's standard deviation at the start, in units of the data."""
    objective = NoisyAdversarial(sigma=sigma, steps=steps)
    return Recipe(
        name="instance-noise-gan",
        model=PlayersGAN,
        config=config,
        stages=two_players(objective, optimizer_of(config, learning_rate), steps=steps),
        batch_size=batch_size,
        data=data_of(config),
    )
