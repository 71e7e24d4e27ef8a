"""A VAE with categorical latents, trained through their relaxation (Jang, Gu & Poole 2017, "Categorical
Reparameterization with Gumbel-Softmax", arXiv:1611.01144; Maddison, Mnih & Teh 2017, arXiv:1611.00712).

    y = softmax((log pi + g) / tau),  g = -log(-log u)                                      (Jang, equation 2)
    gumbel-softmax      E log p(x | y) - KL(Cat(pi) || uniform)                             (Jang, section 3.1)
    straight-through    the same, with argmax(y) forward and y's gradient backward          (Jang, section 2.2)
    concrete            E log p(x | y) + log p(y) - log q(y | x), both densities Concrete of temperature tau, the
                        prior's with equal weights: a bound of the relaxed model            (Maddison, equation 20)
    log density of y    log((K - 1)!) + (K - 1) log tau + sum_i (log pi_i - (tau + 1) log y_i)
                        - K logsumexp_i(log pi_i - tau log y_i)                             (Maddison, equation 10)
`bound` is that of the categorical model in any case, with hard samples: a relaxed figure can exceed log p(x).

The temperature falls as max(lowest, exp(-rate * step)) (Jang, section 4.2); the step is a buffer of the objective.

The KL's weight rises from 0 to 1 over the first `kl_warm_up` steps. The concrete bound needs it: logits of variance v
near 0 cost about v (K - 1) / 2 nats of a relaxed latent, K times the v (K - 1) / 2 K of a categorical one, at any
temperature, though the decoder learns no more from them. Without a warm-up all latents stay at the prior.

Deviations: dense networks; one temperature for posterior and prior in the concrete bound.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor

from gencore import Loss, Objective, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore.nn.distributions import Drawable, OneHot
from gencore.nn.likelihood import Scale
from gencore.noise import GlobalNoise, NoiseSource
from gencore_vae.parts.binary import Binarization, binarize, check_binarized, check_binary
from gencore_vae.parts.latent_variable import LatentVariableModel
from gencore_vae.parts.networks import NUM_PARAMETERS, VAEConfig, data_distribution, make_decoder, make_encoder
from gencore_vae.vae import one_player

SYSTEM = SystemSpec(
    name="gumbel-softmax-vae",
    summary="Categorical latents by Gumbel-softmax, straight-through or Concrete",
    paper=Paper(
        title="Categorical Reparameterization with Gumbel-Softmax",
        authors="Jang, Gu & Poole",
        year=2017,
        arxiv="1611.01144",
    ),
    model="CategoricalVAE",
    recipe="gumbel_vae",
    roles=("encoder", "generator", "sampler"),
    traits=("reconstruct", "bound"),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "hidden": (16,), "batch_size": 8, "num_categories": 4},
)

Relaxation = Literal["gumbel-softmax", "straight-through", "concrete"]
RELAXATIONS = ("gumbel-softmax", "straight-through", "concrete")


def relaxed_one_hot(perturbed: Tensor, temperature: Tensor | float) -> Tensor:
    """Log-probabilities plus Gumbel noise (..., K) -> points of the simplex (..., K), one-hot as tau goes to 0."""
    return (perturbed / temperature).softmax(-1)


def straight_through(soft: Tensor) -> Tensor:
    """Points of the simplex (..., K) -> the nearest one-hot, whose gradient is the soft point's."""
    hard = torch.nn.functional.one_hot(soft.argmax(-1), soft.shape[-1]).to(soft.dtype)
    return hard + soft - soft.detach()


def concrete_log_density(log_y: Tensor, log_weights: Tensor, temperature: Tensor | float) -> Tensor:
    """log density on the simplex of y (..., K), given as log y; `log_weights` are log pi up to a constant; (...)."""
    size = log_y.shape[-1]
    tau = torch.as_tensor(temperature, dtype=log_y.dtype, device=log_y.device)
    scores = log_weights - tau * log_y
    terms = scores.sum(-1) - log_y.sum(-1) - size * scores.logsumexp(-1)
    return math.lgamma(size) + (size - 1) * tau.log() + terms


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CategoricalVAEConfig(VAEConfig):
    """`latent_dim` latents of `num_categories` categories each."""

    num_categories: int = 10

    def __post_init__(self) -> None:
        VAEConfig.__post_init__(self)
        check(self.num_categories >= 2, "num_categories", self.num_categories, "at least 2")


class CategoricalVAE(LatentVariableModel):
    """One-hot latents (N, latent_dim, num_categories) under a uniform prior."""

    config_class = CategoricalVAEConfig
    config: CategoricalVAEConfig
    regions = ("encoder", "decoder")

    def __init__(self, config: CategoricalVAEConfig) -> None:
        super().__init__(config)
        size = math.prod(self.latent_shape)
        self.encoder = make_encoder(config, size)
        self.decoder = make_decoder(config, size, num_parameters=NUM_PARAMETERS[config.likelihood])

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(latent_dim, num_categories)."""
        return self.config.latent_dim, self.config.num_categories

    @property
    def likelihood_scale(self) -> Scale:
        """As the decoder's."""
        return self.config.scale

    def check_data(self, x: Tensor) -> None:
        """As the VAE's."""
        super().check_data(x)
        if self.config.likelihood == "bernoulli":
            check_binary(x)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> OneHot:
        """x (N, *data_shape) -> q(z | x), event (latent_dim, num_categories)."""
        return OneHot(self.encoder(x).view(-1, *self.latent_shape))

    def proposal(self, x: Tensor) -> Drawable:
        """q(z | x)."""
        return self.encode(x)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Drawable:
        """z (N, latent_dim, num_categories), one-hot or relaxed -> p(x | z)."""
        return data_distribution(self.decoder(rearrange(z, "n l k -> n (l k)")), self.config)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean of p(x | z) at the most likely categories."""
        probabilities = self.encode(x).mean
        return self.generate(straight_through(probabilities)).mean

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """Uniform categories, one-hot (N, latent_dim, num_categories)."""
        return OneHot(torch.zeros(noise.count, *self.latent_shape, device=noise.device)).draw(noise)[0]

    def prior_log_prob(self, z: Tensor) -> Tensor:
        """-latent_dim log K, (...)."""
        return torch.full(z.shape[:-2], -self.config.latent_dim * math.log(self.config.num_categories), device=z.device)


class RelaxedBound(Objective):
    """Maximise one of the three objectives of the header while the temperature falls from 1.

    Logs `log_likelihood`, `kl`, and `temperature`: of the relaxation, on its schedule; neither way is better.
    """

    step: Tensor

    def __init__(
        self,
        *,
        relaxation: Relaxation,
        lowest_temperature: float,
        anneal_rate: float,
        kl_warm_up: int,
        binarization: Binarization,
    ) -> None:
        super().__init__()
        check(relaxation in RELAXATIONS, "relaxation", relaxation, f"one of {list(RELAXATIONS)}")
        check(lowest_temperature > 0, "lowest_temperature", lowest_temperature, "a positive number")
        check(anneal_rate >= 0, "anneal_rate", anneal_rate, "0 or more")
        self.relaxation, self.binarization = relaxation, binarization
        check(kl_warm_up >= 0, "kl_warm_up", kl_warm_up, "0 or more steps")
        self.lowest_temperature, self.anneal_rate, self.kl_warm_up = lowest_temperature, anneal_rate, kl_warm_up
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @property
    def temperature(self) -> Tensor:
        """A scalar."""
        return torch.exp(-self.anneal_rate * self.step).clamp_min(self.lowest_temperature)

    @property
    def kl_weight(self) -> Tensor:
        """A scalar in [0, 1]."""
        return ((self.step + 1) / max(1, self.kl_warm_up)).clamp_max(1.0)

    def autoencoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Nats per example, mean over the batch."""
        x = binarize(batch["x"], self.binarization)
        posterior = model.encode(x)
        perturbed = posterior.gumbel(GlobalNoise(len(x), x.device))
        temperature = self.temperature
        soft = relaxed_one_hot(perturbed, temperature)
        code = straight_through(soft) if self.relaxation == "straight-through" else soft
        log_likelihood = model.log_likelihood(x, code)[0].mean()
        if self.relaxation == "concrete":
            log_y = (perturbed / temperature).log_softmax(-1)
            uniform = torch.zeros_like(posterior.log_probabilities)
            densities = concrete_log_density(log_y, posterior.log_probabilities, temperature)
            kl = (densities - concrete_log_density(log_y, uniform, temperature)).sum(-1).mean()
        else:
            kl = posterior.kl_to_uniform().mean()
        return Loss(
            self.kl_weight * kl - log_likelihood,
            {"log_likelihood": log_likelihood, "kl": kl, "temperature": temperature.clone()},
        )

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Count the step."""
        self.step += 1


def gumbel_vae(
    *,
    config: CategoricalVAEConfig = CategoricalVAEConfig(data_shape=(1, 8, 8), latent_dim=10, likelihood="bernoulli"),
    steps: int = 4000,
    batch_size: int = 64,
    relaxation: Relaxation = "gumbel-softmax",
    lowest_temperature: float = 0.5,
    anneal_rate: float = 3e-4,
    kl_warm_up: int | None = None,
    binarization: Binarization = "dynamic",
    learning_rate: float = 1e-3,
) -> Recipe:
    """The temperature is max(lowest_temperature, exp(-anneal_rate * step)). `kl_warm_up`: steps; None: half of all for
    "concrete", 0 for the others."""
    check_binarized(config.likelihood, binarization)
    objective = RelaxedBound(
        relaxation=relaxation,
        lowest_temperature=lowest_temperature,
        anneal_rate=anneal_rate,
        kl_warm_up=kl_warm_up if kl_warm_up is not None else steps // 2 if relaxation == "concrete" else 0,
        binarization=binarization,
    )
    return Recipe(
        name="gumbel-softmax-vae",
        model=CategoricalVAE,
        config=config,
        stages=one_player(objective, steps=steps, learning_rate=learning_rate, parts=("encoder", "decoder")),
        batch_size=batch_size,
    )
