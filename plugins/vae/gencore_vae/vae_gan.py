"""VAE/GAN (Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric", arXiv:1512.09300,
Algorithm 1).

With D the critic's logit, D_l its features, z_q ~ q(z | x), z_p ~ N(0, I), and sp(u) = log(1 + exp(u)):
    L_feat    -log N(D_l(x); D_l(G(z_q)), I), without its constant: ||D_l(x) - D_l(G(z_q))||^2 / 2      (equation 7)
    encoder   KL(q(z | x) || N(0, I)) + L_feat
    decoder   feature_weight L_feat + sp(-D(G(z_q))) + sp(-D(G(z_p)))
    critic    sp(-D(x)) + sp(D(G(z_q))) + sp(D(G(z_p)))
The encoder does not see the game, the critic does not see L_feat. Gates hold the balance, as the authors' program does:
with c_real = E sp(-D(x)) and c_fake = E sp(D(G(z_q))) of the batch, measured before the steps, the critic rests where
either is below equilibrium - margin, the decoder where either is above equilibrium + margin; if both would rest, both
train.

Deviations: the decoder's game is the non-saturating one; the phases follow one another, so that the decoder sees the
encoder already stepped; no batch normalisation; dense layers next to the latent only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Adam, Loss, Model, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.distributed import process_count, sum_over_processes
from gencore.nn.conv import channels_of
from gencore.nn.distributions import DiagonalGaussian
from gencore.noise import GlobalNoise, NoiseSource
from gencore_vae.parts.networks import AutoencoderConfig, make_decoder, make_encoder

SYSTEM = SystemSpec(
    name="vae-gan",
    summary="A critic's features replace the pixels in a VAE's likelihood",
    paper=Paper(
        title="Autoencoding beyond pixels using a learned similarity metric",
        authors="Larsen et al.",
        year=2016,
        arxiv="1512.09300",
    ),
    model="VAEGAN",
    recipe="vae_gan",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("reconstruct",),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "width": 4, "batch_size": 8},
)


class Critic(nn.Module):
    """Convolutions down to 4 x 4 places, then a linear logit. `forward` returns features (N, F) and logits (N,)."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        channels, size, _ = config.data_shape
        layers: list[nn.Module] = []
        maps = channels_of(size, config.width)
        for following in maps:
            layers += [nn.Conv2d(channels, following, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
            channels = following
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(channels * (size >> len(maps)) ** 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W)."""
        features = self.trunk(x)
        return features, rearrange(self.head(features), "n 1 -> n")


class VAEGAN(Model):
    """A convolutional VAE without a pixel likelihood, and a critic whose features measure likeness."""

    config_class = AutoencoderConfig
    config: AutoencoderConfig
    regions = ("encoder", "decoder", "critic")

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(config)
        check(config.network == "conv", "network", config.network, '"conv"')
        self.encoder = make_encoder(config, 2 * config.latent_dim)
        self.decoder = make_decoder(config, config.latent_dim, num_parameters=1)
        self.critic = Critic(config)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> DiagonalGaussian:
        """x (N, *data_shape) -> q(z | x), event (latent_dim,)."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return DiagonalGaussian(mean, log_variance)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> images (N, *data_shape) in [-1, 1]."""
        return self.decoder(z)[:, 0].tanh()

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape) -> (N,) logits, larger for real."""
        return self.critic(x)[1]

    def reconstruct(self, x: Tensor) -> Tensor:
        """The image at the mean of q(z | x)."""
        return self.generate(self.encode(x).mean)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)


class Balance(NamedTuple):
    """Who trains in an iteration."""

    critic: bool
    decoder: bool


def balance(real: float, fake: float, *, equilibrium: float, margin: float) -> Balance:
    """The gates of the header from the critic's mean costs on real images and on reconstructions."""
    critic = min(real, fake) >= equilibrium - margin
    decoder = max(real, fake) <= equilibrium + margin
    return Balance(critic, decoder) if critic or decoder else Balance(True, True)


def feature_distance(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared distance of features (N, F), mean over the batch."""
    return 0.5 * (a - b).square().sum(1).mean()


class LearnedSimilarity(Objective):
    """Phases "encoder", "decoder", "critic", in this order: the first measures the costs that gate the others.

    Logs `kl`, `game`, and `feature_distance`: of data and rebuilt data, in the critic's features, nats; lower is
    better.
    """

    costs: Tensor

    def __init__(self, *, feature_weight: float, equilibrium: float, margin: float) -> None:
        super().__init__()
        check(feature_weight >= 0, "feature_weight", feature_weight, "0 or more")
        check(margin >= 0, "margin", margin, "0 or more")
        self.feature_weight, self.equilibrium, self.margin = feature_weight, equilibrium, margin
        self.register_buffer("costs", torch.full((2,), equilibrium))

    def gates(self) -> Balance:
        """Who trains, from the costs of the last batch measured."""
        real, fake = self.costs.tolist()
        return balance(real, fake, equilibrium=self.equilibrium, margin=self.margin)

    def encoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """KL and distance of features, nats, means over the batch."""
        x, noise = batch["x"], GlobalNoise.like(batch["x"])
        posterior = model.encode(x)
        rebuilt, judged_rebuilt = model.critic(model.generate(posterior.draw(noise)[0]))
        with torch.no_grad():
            real, judged_real = model.critic(x)
        costs = torch.stack([F.softplus(-judged_real).mean(), F.softplus(judged_rebuilt).mean()]).detach()
        kl, distance = posterior.kl_to_standard_normal().mean(), feature_distance(real, rebuilt)
        return Loss(kl + distance, {"kl": kl, "feature_distance": distance}, seen=costs)

    def decoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Distance of features, and the game on reconstructions and new images."""
        x, noise = batch["x"], GlobalNoise.like(batch["x"])
        with torch.no_grad():
            posterior = model.encode(x)
            real, _ = model.critic(x)
        rebuilt, judged_rebuilt = model.critic(model.generate(posterior.draw(noise)[0]))
        judged_new = model.judge(model.generate(model.draw_prior(noise)))
        game = F.softplus(-judged_rebuilt).mean() + F.softplus(-judged_new).mean()
        return Loss(self.feature_weight * feature_distance(real, rebuilt) + game, {"game": game})

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real images against reconstructions and new ones."""
        x, noise = batch["x"], GlobalNoise.like(batch["x"])
        with torch.no_grad():
            rebuilt = model.generate(model.encode(x).draw(noise)[0])
            new = model.generate(model.draw_prior(noise))
        judged = model.judge(torch.cat([x, rebuilt, new])).chunk(3)
        terms = [F.softplus(sign * logits).mean() for sign, logits in zip((-1, 1, 1), judged, strict=True)]
        return Loss(torch.stack(terms).sum())

    def after_step(self, model: Any, phase: str, seen: Sequence[Tensor]) -> None:
        """Keep the costs, averaged over processes."""
        if seen:
            self.costs.copy_(sum_over_processes(torch.stack(list(seen)).mean(0)) / process_count())


def vae_gan(
    *,
    config: AutoencoderConfig = AutoencoderConfig(data_shape=(1, 8, 8), latent_dim=16, network="conv"),
    steps: int = 4000,
    batch_size: int = 64,
    feature_weight: float = 0.1,
    equilibrium: float = 0.68,
    margin: float = 0.4,
    learning_rate: float = 3e-4,
) -> Recipe:
    """`feature_weight`: the paper's gamma. An infinite balance (`margin` of 100) lets both train always."""
    objective = LearnedSimilarity(feature_weight=feature_weight, equilibrium=equilibrium, margin=margin)
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    phases = (
        Phase(name="encoder", parts=("encoder",), optimizer=optimizer),
        Phase(
            name="decoder", parts=("decoder",), optimizer=optimizer, gate=lambda objective: objective.gates().decoder
        ),
        Phase(name="critic", parts=("critic",), optimizer=optimizer, gate=lambda objective: objective.gates().critic),
    )
    return Recipe(
        name="vae-gan",
        model=VAEGAN,
        config=config,
        stages=(Stage(objective=objective, phases=phases, steps=steps),),
        batch_size=batch_size,
    )
