"""Monte-Carlo estimates without a posterior: why a VAE needs its encoder (Kingma & Welling 2014, arXiv:1312.6114,
section 2.1, names the problem).

    "mean of logs"   maximise E_x E_{z ~ p(z)} log p(x | z)
                     This is not log p(x): its optimum ignores z and outputs the mean of the data.
    "log of mean"    maximise E_x log (1/k) sum_i p(x | z_i),  z_i ~ p(z)
                     Unbiased for p(x), below log p(x) in expectation, and of use for a few latent dimensions only.
Both are bounds of gencore_vae.parts.latent_variable with the prior as proposal: the KL is 0 and the weights are
p(x | z). `bound(x, k)` is the second.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from gencore import Objective, Paper, Recipe, SystemSpec
from gencore.nn.distributions import DiagonalGaussian, Drawable
from gencore.nn.likelihood import Scale
from gencore_vae.iwae import ImportanceWeightedBound
from gencore_vae.parts.latent_variable import LatentVariableModel
from gencore_vae.parts.networks import NUM_PARAMETERS, VAEConfig, data_distribution, make_decoder
from gencore_vae.vae import VariationalBound, one_player

SYSTEM = SystemSpec(
    name="naive-monte-carlo",
    summary="A decoder trained without an encoder: the counter-example that needs the bound",
    paper=Paper(
        title="Auto-Encoding Variational Bayes",
        authors="Kingma & Welling",
        year=2014,
        arxiv="1312.6114",
    ),
    model="PriorDecoder",
    recipe="naive_monte_carlo",
    roles=("generator", "sampler"),
    traits=("bound",),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "hidden": (16,), "batch_size": 8},
)


class PriorDecoder(LatentVariableModel):
    """A prior and a decoder, nothing else."""

    config_class = VAEConfig
    config: VAEConfig
    regions = ("decoder",)

    def __init__(self, config: VAEConfig) -> None:
        super().__init__(config)
        self.decoder = make_decoder(config, config.latent_dim, num_parameters=NUM_PARAMETERS[config.likelihood])

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(latent_dim,)."""
        return (self.config.latent_dim,)

    @property
    def likelihood_scale(self) -> Scale:
        """As the decoder's."""
        return self.config.scale

    def proposal(self, x: Tensor) -> Drawable:
        """The prior, whatever x is."""
        zero = x.new_zeros(len(x), self.config.latent_dim)
        return DiagonalGaussian(zero, zero)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Drawable:
        """z (N, latent_dim) -> p(x | z), event data_shape."""
        return data_distribution(self.decoder(z), self.config)


def naive_monte_carlo(
    *,
    config: VAEConfig = VAEConfig(data_shape=(1, 8, 8)),
    steps: int = 4000,
    batch_size: int = 64,
    estimator: Literal["mean of logs", "log of mean"] = "mean of logs",
    num_samples: int = 32,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`num_samples`: k of "log of mean"; "mean of logs" draws one z for each example."""
    objective: Objective = (
        VariationalBound()
        if estimator == "mean of logs"
        else ImportanceWeightedBound(num_samples=num_samples, binarization="none")
    )
    return Recipe(
        name="naive-monte-carlo",
        model=PriorDecoder,
        config=config,
        stages=one_player(objective, steps=steps, learning_rate=learning_rate, parts=("decoder",)),
        batch_size=batch_size,
    )
