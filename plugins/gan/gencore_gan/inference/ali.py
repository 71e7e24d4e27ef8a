"""ALI (Dumoulin et al. 2017, "Adversarially Learned Inference", arXiv:1606.00704).

    min_{p, q} max_D  E_{q(x, z)} log D(x, z) + E_{p(x, z)} log(1 - D(x, z)),
    q(x, z) = q(x) N(z; mu(x), sigma(x)^2),  p(x, z) = p(z) p(x | z)                              (equation 2)
The critic sees pairs of both joint distributions; where it cannot tell them apart, q(z | x) is the posterior of the
generator's model. A code is drawn by z = mu(x) + sigma(x) eps (equation 4), so that its gradient reaches mu and sigma.
Generator and encoder minimise the objective with the kinds exchanged (Algorithm 1). With sigma = 0 it is BiGAN.

Deviations: p(x | z) is a point, G(z), as in the paper's experiments on images; LeakyReLU networks where the paper has
convolutions with maxout, dropout and batch normalisation; the log variance is held within [-8, 4].
"""

from __future__ import annotations

from torch import Tensor

from gencore import Paper, Recipe, SystemSpec
from gencore.nn.distributions import DiagonalGaussian
from gencore.noise import NoiseSource
from gencore_gan.parts.bidirectional import BidirectionalGAN, bidirectional_recipe
from gencore_gan.parts.networks import DenseGANConfig

SYSTEM = SystemSpec(
    name="ali",
    summary="A stochastic encoder learnt in the game: the critic compares two joint distributions",
    paper=Paper(title="Adversarially Learned Inference", authors="Dumoulin et al.", year=2017, arxiv="1606.00704"),
    model="ALI",
    recipe="ali",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("reconstruct",),
    claims=("compiles", "twice-differentiable"),
    tiny={"latent_dim": 4, "hidden": (16,), "batch_size": 8},
)

LOG_VARIANCES = (-8.0, 4.0)


class ALI(BidirectionalGAN):
    """The encoder gives a normal distribution of codes."""

    def __init__(self, config: DenseGANConfig) -> None:
        super().__init__(config, outputs=2 * config.latent_dim)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> DiagonalGaussian:
        """x (N, *data_shape) -> q(z | x), event (latent_dim,)."""
        mean, log_variance = self.encoder(x.flatten(1)).chunk(2, 1)
        return DiagonalGaussian(mean, log_variance.clamp(*LOG_VARIANCES))

    def code(self, x: Tensor) -> Tensor:
        """The mean of q(z | x)."""
        return self.encode(x).mean

    def infer(self, x: Tensor, noise: NoiseSource) -> Tensor:
        """A draw from q(z | x), reparametrised."""
        return self.encode(x).draw(noise)[0]


def ali(
    *,
    config: DenseGANConfig = DenseGANConfig(data_shape=(1, 8, 8), latent_dim=8, output="auto"),
    steps: int = 4000,
    batch_size: int = 64,
    learning_rate: float = 5e-4,
) -> Recipe:
    """One critic step for each of generator and encoder."""
    return bidirectional_recipe("ali", ALI, config, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
