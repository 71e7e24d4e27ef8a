"""BiGAN (Donahue, Krahenbuhl & Darrell 2017, "Adversarial Feature Learning", arXiv:1605.09782).

    min_{G, E} max_D  E_x log D(x, E(x)) + E_z log(1 - D(G(z), z))                                (equations 2 and 3)
The critic sees data beside their codes and codes beside what they generate. It can only be fooled for good where both
kinds of pairs have one distribution, and then E inverts G (theorem 2): nothing ever compares x with G(E(x)). E has its
gradient from the real pairs, G from the generated ones; both minimise the objective with the kinds exchanged, as in
section 3.4. E is deterministic.

Deviations: LeakyReLU networks without batch normalisation; a normal prior where the paper's is uniform; a small latent
space, so that a shortfall of the inversion shows.
"""

from __future__ import annotations

from torch import Tensor

from gencore import Paper, Recipe, SystemSpec
from gencore.noise import NoiseSource
from gencore_gan.parts.bidirectional import BidirectionalGAN, bidirectional_recipe
from gencore_gan.parts.networks import DenseGANConfig

SYSTEM = SystemSpec(
    name="bigan",
    summary="An encoder learnt in the game itself: the critic sees data with codes and codes with data",
    paper=Paper(title="Adversarial Feature Learning", authors="Donahue et al.", year=2017, arxiv="1605.09782"),
    model="BiGAN",
    recipe="bigan",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("reconstruct",),
    claims=("compiles", "twice-differentiable"),
    tiny={"latent_dim": 4, "hidden": (16,), "batch_size": 8},
)


class BiGAN(BidirectionalGAN):
    """The encoder gives a code."""

    def __init__(self, config: DenseGANConfig) -> None:
        super().__init__(config, outputs=config.latent_dim)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> code (N, latent_dim)."""
        return self.encoder(x.flatten(1))

    def code(self, x: Tensor) -> Tensor:
        """As `encode`."""
        return self.encode(x)

    def infer(self, x: Tensor, noise: NoiseSource) -> Tensor:
        """As `encode`: no noise goes in."""
        return self.encode(x)


def bigan(
    *,
    config: DenseGANConfig = DenseGANConfig(data_shape=(1, 8, 8), latent_dim=8, output="auto"),
    steps: int = 4000,
    batch_size: int = 64,
    learning_rate: float = 5e-4,
) -> Recipe:
    """One critic step for each of generator and encoder."""
    return bidirectional_recipe("bigan", BiGAN, config, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
