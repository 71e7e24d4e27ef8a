"""The adversarial autoencoder (Makhzani et al. 2015, "Adversarial Autoencoders", arXiv:1511.05644, section 2).

With D the critic's logit on codes, z_p ~ p(z), and sp(u) = log(1 + exp(u)):
    reconstruction   encoder, decoder   ||x - G(E(x))||^2 / number of pixels
    critic           critic             sp(-D(z_p)) + sp(D(E(x)))
    fool             encoder            sp(-D(E(x)))
So the codes of the data come to be distributed as the prior, of which only samples are needed; the encoder belongs to
two phases. The encoder is deterministic (the paper's first choice).

Deviations: Adam; the mean over pixels and rates of 1e-3 (reconstruction) and 2e-4 (critic, fool): with sums over pixels
the encoder is not moved by the critic. No semi-supervised or label-conditioned critic.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from gencore import Adam, Loss, Model, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.nn.dense import mlp
from gencore.noise import GlobalNoise, NoiseSource
from gencore_vae.parts.networks import AutoencoderConfig, make_decoder, make_encoder

SYSTEM = SystemSpec(
    name="aae",
    summary="A critic makes the distribution of the codes equal to the prior",
    paper=Paper(
        title="Adversarial Autoencoders",
        authors="Makhzani et al.",
        year=2015,
        arxiv="1511.05644",
    ),
    model="AAE",
    recipe="aae",
    roles=("encoder", "generator", "sampler"),
    traits=("reconstruct",),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "hidden": (16,), "batch_size": 8, "critic_hidden": (8,)},
)

Prior = Literal["normal", "mixture"]
NUM_COMPONENTS = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AAEConfig(AutoencoderConfig):
    """`prior`: "normal", N(0, I); "mixture", of ten Gaussians in the plane (section 5, figure 4), latent_dim 2."""

    prior: Prior = "normal"
    critic_hidden: tuple[int, ...] = (128, 128)

    def __post_init__(self) -> None:
        AutoencoderConfig.__post_init__(self)
        check(self.prior in ("normal", "mixture"), "prior", self.prior, '"normal" or "mixture"')
        check(self.prior == "normal" or self.latent_dim == 2, "latent_dim", self.latent_dim, "2 for a mixture prior")
        check(min(self.critic_hidden, default=1) > 0, "critic_hidden", self.critic_hidden, "positive widths")


def mixture_of_gaussians(component: Tensor, normal: Tensor) -> Tensor:
    """Component numbers (N,) and normal numbers (N, 2) -> points (N, 2) of ten Gaussians on the circle of radius 2.

    Each is long towards the centre (standard deviation 0.5) and narrow across (0.1).
    """
    angle = component * (2 * math.pi / NUM_COMPONENTS)
    along, across = 2 + 0.5 * normal[:, 0], 0.1 * normal[:, 1]
    return torch.stack([along * angle.cos() - across * angle.sin(), along * angle.sin() + across * angle.cos()], dim=1)


class AAE(Model):
    """Encoder, decoder, and a critic of codes."""

    config_class = AAEConfig
    config: AAEConfig
    regions = ("encoder", "decoder", "critic")

    def __init__(self, config: AAEConfig) -> None:
        super().__init__(config)
        self.encoder = make_encoder(config, config.latent_dim)
        self.decoder = make_decoder(config, config.latent_dim, num_parameters=1)
        self.critic = mlp((config.latent_dim, *config.critic_hidden, 1))

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> codes (N, latent_dim)."""
        return self.encoder(x)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes (N, latent_dim) -> (N, *data_shape), about [-1, 1]."""
        return self.decoder(z)[:, 0]

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode, then generate."""
        return self.generate(self.encode(x))

    def judge_codes(self, z: Tensor) -> Tensor:
        """Codes (N, latent_dim) -> (N,) logits, larger for codes of the prior."""
        return rearrange(self.critic(z), "n 1 -> n")

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """One code of the prior for each stream of noise, (N, latent_dim)."""
        normal = noise.normal(self.config.latent_dim)
        if self.config.prior == "normal":
            return normal
        return mixture_of_gaussians((noise.uniform(1)[:, 0] * NUM_COMPONENTS).floor(), normal)


class AdversarialAutoencoding(Objective):
    """Phases "reconstruction", "critic", "fool".

    Logs `prior` and `data`: mean scores of codes of the prior and of data; neither way is better: what counts is the
    first's lead, which at a draw is nothing.
    """

    def reconstruction(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Squared error, mean over all numbers."""
        return Loss(F.mse_loss(model.reconstruct(batch["x"]), batch["x"]))

    def fool(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The encoder's loss: its codes look like the prior's."""
        return Loss(F.softplus(-model.judge_codes(model.encode(batch["x"]))).mean())

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Prior against codes."""
        x = batch["x"]
        with torch.no_grad():
            codes = model.encode(x)
        prior, data = model.judge_codes(model.draw_prior(GlobalNoise(len(x), x.device))), model.judge_codes(codes)
        return Loss(F.softplus(-prior).mean() + F.softplus(data).mean(), {"prior": prior.mean(), "data": data.mean()})


def aae(
    *,
    config: AAEConfig = AAEConfig(data_shape=(1, 8, 8)),
    steps: int = 4000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    adversarial_learning_rate: float = 2e-4,
) -> Recipe:
    """Three phases: reconstruction, then the game over the codes."""
    adversarial = Adam(learning_rate=adversarial_learning_rate, betas=(0.5, 0.999))
    phases = (
        Phase(name="reconstruction", parts=("encoder", "decoder"), optimizer=Adam(learning_rate=learning_rate)),
        Phase(name="critic", parts=("critic",), optimizer=adversarial),
        Phase(name="fool", parts=("encoder",), optimizer=adversarial),
    )
    return Recipe(
        name="aae",
        model=AAE,
        config=config,
        stages=(Stage(objective=AdversarialAutoencoding(), phases=phases, steps=steps),),
        batch_size=batch_size,
    )
