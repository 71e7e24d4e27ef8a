"""The variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes", arXiv:1312.6114; Rezende,
Mohamed & Wierstra 2014, arXiv:1401.4082).

    L(x) = E_q(z|x) log p(x | z) - KL(q(z | x) || N(0, I))                                    (equation 3)
    z = mean(x) + std(x) * eps,  eps ~ N(0, I)                                                (section 2.4)
with one eps for each example, and the KL in closed form (appendix B). Everything is in nats, constants included.

Deviations: Adam where the paper has Adagrad; two hidden layers of LeakyReLU where it has one of tanh.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.nn.distributions import DiagonalGaussian, Drawable
from gencore.nn.likelihood import Scale
from gencore.noise import GlobalNoise, NoiseSource
from gencore_vae.parts.binary import BINARIZATIONS, Binarization, binarize, check_binary
from gencore_vae.parts.latent_variable import LatentVariableModel, Terms
from gencore_vae.parts.networks import NUM_PARAMETERS, VAEConfig, data_distribution, make_decoder, make_encoder

SYSTEM = SystemSpec(
    name="vae",
    summary="Gaussian decoder of fixed or learned diagonal covariance, reparametrised Gaussian posterior",
    paper=Paper(
        title="Auto-Encoding Variational Bayes",
        authors="Kingma & Welling",
        year=2014,
        arxiv="1312.6114",
    ),
    model="VAE",
    recipe="vae",
    sized="sized",
    roles=("encoder", "generator", "sampler"),
    traits=("reconstruct", "bound"),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "hidden": (16,), "batch_size": 8},
)


class VAE(LatentVariableModel):
    """A Gaussian posterior with diagonal covariance; the decoder as the config says."""

    config_class = VAEConfig
    config: VAEConfig
    regions: ClassVar[tuple[str, ...]] = ("encoder", "decoder")

    def __init__(self, config: VAEConfig) -> None:
        super().__init__(config)
        self.encoder = make_encoder(config, 2 * config.latent_dim)
        self.decoder = make_decoder(config, config.latent_dim, num_parameters=NUM_PARAMETERS[config.likelihood])

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(latent_dim,)."""
        return (self.config.latent_dim,)

    @property
    def likelihood_scale(self) -> Scale:
        """A density, or a probability of binary images."""
        return self.config.scale

    def check_data(self, x: Tensor) -> None:
        """The shape, finite, in range; and binary where the decoder is Bernoulli."""
        super().check_data(x)
        if self.config.likelihood == "bernoulli":
            check_binary(x)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Drawable:
        """x (N, *data_shape) -> q(z | x), event (latent_dim,)."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return DiagonalGaussian(mean, log_variance)

    def proposal(self, x: Tensor) -> Drawable:
        """q(z | x)."""
        return self.encode(x)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Drawable:
        """z (N, latent_dim) -> p(x | z), event data_shape."""
        return data_distribution(self.decoder(z), self.config)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean of p(x | z) at the mean of q(z | x): (N, *data_shape)."""
        return self.generate(self.encode(x).mean).mean

    def terms(self, x: Tensor, noise: NoiseSource) -> Terms:
        """With the KL in closed form, which has less variance than log q - log p of the sample."""
        posterior = self.encode(x)
        assert isinstance(posterior, DiagonalGaussian)
        z = posterior.draw(noise)[0]
        return Terms(self.generate(z).log_prob(x), posterior.kl_to_standard_normal())


class VariationalBound(Objective):
    """Maximise E log p(x | z) - beta KL. `free_bits`, in nats an example, is a KL that costs nothing (Kingma et al.
    2016, arXiv:1606.04934, appendix C.8, with all latents in one group): max(free_bits, mean KL).

    Logs `log_likelihood` and `kl`.
    """

    def __init__(self, *, beta: float = 1.0, free_bits: float = 0.0, binarization: Binarization = "none") -> None:
        super().__init__()
        check(beta >= 0, "beta", beta, "0 or more")
        check(free_bits >= 0, "free_bits", free_bits, "0 or more nats")
        check(binarization in BINARIZATIONS, "binarization", binarization, f"one of {list(BINARIZATIONS)}")
        self.beta, self.free_bits, self.binarization = beta, free_bits, binarization

    def autoencoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Nats per example, mean over the batch."""
        x = binarize(batch["x"], self.binarization)
        terms = model.terms(x, GlobalNoise(len(x), x.device))
        log_likelihood, kl = terms.log_likelihood.mean(), terms.kl.mean()
        cost = kl.clamp_min(self.free_bits) if self.free_bits else kl
        total = self.beta * cost - log_likelihood
        return Loss(total, {"log_likelihood": log_likelihood, "kl": kl})


def one_player(objective: Objective, *, steps: int, learning_rate: float, parts: tuple[str, ...]) -> tuple[Stage, ...]:
    """One stage, one phase "autoencoder", Adam."""
    phase = Phase(name="autoencoder", parts=parts, optimizer=Adam(learning_rate=learning_rate))
    return (Stage(objective=objective, phases=(phase,), steps=steps),)


def sized(data_shape: tuple[int, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """From 512 numbers an example on 16 latents and two layers of 512; from 4096 on 64 latents."""
    numbers = math.prod(data_shape)
    if numbers < 512:
        return {}
    return {"latent_dim": 16 if numbers < 4096 else 64, "hidden": (512, 512)}


def vae(
    *,
    config: VAEConfig = VAEConfig(data_shape=(1, 8, 8)),
    steps: int = 4000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
) -> Recipe:
    """The Gaussian decoder: N(f(z), decoder_std^2 I), or "gaussian-diagonal", whose variances are learned."""
    expected = ("gaussian", "gaussian-diagonal")
    given = config.likelihood
    check(given in expected, "likelihood", given, f"one of {list(expected)}; see also bernoulli-vae")
    return Recipe(
        name="vae",
        model=VAE,
        config=config,
        stages=one_player(VariationalBound(), steps=steps, learning_rate=learning_rate, parts=("encoder", "decoder")),
        batch_size=batch_size,
    )
