"""EBGAN: the critic is an energy, an autoencoder's error (Zhao, Mathieu & LeCun 2017, "Energy-based Generative
Adversarial Networks", arXiv:1609.03126).

    D(x) = ||Dec(Enc(x)) - x||^2 / n, n numbers an image                                             (equation 5)
    critic      E_x D(x) + E_z [m - D(G(z))]+                                               (equation 1)
    generator   E_z D(G(z)) + weight PT(Enc(G(z)))                                  (equation 2, section 2.4)
    PT(S) = 1 / (N (N - 1)) sum_(i != j) (S_i . S_j / (||S_i|| ||S_j||))^2                    (equation 6)
The energy is low at data. Beyond the margin m the critic lets go of generated examples. The pulling-away term PT makes
the codes of a batch orthogonal, so that the batch does not collapse; weight 0.1 (section 4.1).

Deviations: equation 5 has the norm, the authors' program its mean square, as here: so m does not depend on the image's
size. z is uniform where the paper does not say. Small convolutional networks without batch normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, relu

from gencore import Adam, Loss, Objective, Paper, Recipe, SystemSpec
from gencore.adversarial.objective import generator_average, two_players
from gencore.config import check
from gencore.noise import GlobalNoise
from gencore_gan.parts.autoencoder_critic import AutoencoderGAN, AutoencoderGANConfig

SYSTEM = SystemSpec(
    name="ebgan",
    summary="The critic is an autoencoder whose error is an energy; codes pulled apart",
    paper=Paper(
        title="Energy-based Generative Adversarial Networks",
        authors="Zhao, Mathieu & LeCun",
        year=2017,
        arxiv="1609.03126",
    ),
    model="EBGAN",
    recipe="ebgan",
    roles=("generator", "critic", "sampler"),
    traits=("reconstruct",),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 4, "code_dim": 4, "width": 4, "batch_size": 8},
)


def squared_error(x: Tensor, rebuilt: Tensor) -> Tensor:
    """Mean square over the numbers of each image (N, ...), (N,)."""
    return (rebuilt - x).square().flatten(1).mean(1)


def pulling_away(codes: Tensor) -> Tensor:
    """Equation 6 for codes (N, D), N > 1: the mean squared cosine of two different ones, a scalar in [0, 1]."""
    directions = normalize(codes, dim=1)
    squares = (directions @ directions.T).square()
    return (squares.sum() - squares.diagonal().sum()) / (len(codes) * (len(codes) - 1))


def margin_loss(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    """Equation 1 from energies (N,)."""
    return real.mean() + relu(margin - fake).mean()


class EBGAN(AutoencoderGAN):
    """A generator against an autoencoder."""

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape) -> energies (N,), smaller for real."""
        return squared_error(x, self.critic(x))


class EnergyBased(Objective):
    """Phases "critic" and "generator".

    Logs `real`: mean energy of data; lower is better. `fake`: mean energy of generated examples; neither way is better:
    it should rise no further than the margin. `pulling_away`: mean squared cosine of the codes of two; lower is better.
    """

    def __init__(self, *, margin: float, pulling_away_weight: float) -> None:
        super().__init__()
        check(margin > 0, "margin", margin, "a positive number")
        check(pulling_away_weight >= 0, "pulling_away_weight", pulling_away_weight, "0 or more")
        self.margin, self.pulling_away_weight = margin, pulling_away_weight

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"] and as many new examples."""
        x = batch["x"]
        with torch.no_grad():
            fake = model.generate(model.draw_prior(GlobalNoise.like(x)))
        real_energy, fake_energy = model.judge(x), model.judge(fake)
        metrics = {"real": real_energy.detach().mean(), "fake": fake_energy.detach().mean()}
        return Loss(margin_loss(real_energy, fake_energy, self.margin), metrics)

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On as many new examples as batch["x"] has."""
        fake = model.generate(model.draw_prior(GlobalNoise.like(batch["x"])))
        codes = model.critic.encoder(fake)
        energy = squared_error(fake, model.critic.decoder(codes)).mean()
        apart = pulling_away(codes)
        return Loss(energy + self.pulling_away_weight * apart, {"pulling_away": apart.detach()})


def ebgan(
    *,
    config: AutoencoderGANConfig = AutoencoderGANConfig(),
    steps: int = 4000,
    batch_size: int = 64,
    margin: float = 1.0,
    pulling_away_weight: float = 0.1,
    learning_rate: float = 1e-3,
    ema_decay: float = 0.99,
) -> Recipe:
    """`margin`: the paper's m, in squared grey levels of [-1, 1] (white noise is at 0.33 from 0)."""
    check(batch_size > 1, "batch_size", batch_size, "at least 2: the pulling-away term is between two codes")
    objective = EnergyBased(margin=margin, pulling_away_weight=pulling_away_weight)
    return Recipe(
        name="ebgan",
        model=EBGAN,
        config=config,
        stages=two_players(objective, Adam(learning_rate=learning_rate, betas=(0.5, 0.999)), steps=steps),
        batch_size=batch_size,
        ema=generator_average(ema_decay),
    )
