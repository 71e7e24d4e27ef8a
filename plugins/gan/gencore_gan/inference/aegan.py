"""AEGAN (Luo et al. 2017, "Learning Inverse Mapping by Autoencoder Based Generative Adversarial Nets",
arXiv:1703.10094).

A GAN is trained, then frozen; an encoder E in front of it makes an autoencoder of generated images only:
    min_E  E_z || G(z) - G(E(G(z))) ||^2
The error is counted in image space: two codes of one image need not be told apart, and the directions of z that matter
to the image count most. `space="code"` puts E_z || z - E(G(z)) ||^2 in its place, IcGAN's (arXiv:1611.06355) choice,
which finds z better and the image worse.

Under-specified in the paper: the norm (a mean square here) and the networks (LeakyReLU perceptrons here).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from gencore import Paper, Recipe, SystemSpec
from gencore_gan.parts.inverters import InvertedGAN, Inverter, gan_then_inverter
from gencore_gan.parts.networks import DenseGANConfig

SYSTEM = SystemSpec(
    name="aegan",
    summary="An encoder for a finished GAN, trained on generated images by their error as images",
    paper=Paper(
        title="Learning Inverse Mapping by Autoencoder Based Generative Adversarial Nets",
        authors="Luo et al.",
        year=2017,
        arxiv="1703.10094",
    ),
    model="AEGAN",
    recipe="aegan",
    roles=("encoder", "generator", "critic", "sampler"),
    traits=("reconstruct",),
    claims=("compiles", "twice-differentiable"),
    tiny={"latent_dim": 4, "hidden": (16,), "batch_size": 8, "inverter_steps": 4},
)


class AEGAN(InvertedGAN):
    """The encoder gives the code, the generator the image."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """G(E(x))."""
        return self.generate(self.encode(x))


def aegan(
    *,
    config: DenseGANConfig = DenseGANConfig(data_shape=(1, 8, 8), latent_dim=8, output="auto"),
    steps: int = 4000,
    inverter_steps: int | None = None,
    batch_size: int = 64,
    space: Literal["data", "code"] = "data",
    learning_rate: float = 5e-4,
    inverter_learning_rate: float = 1e-3,
) -> Recipe:
    """`inverter_steps`, None for half of `steps`, and `inverter_learning_rate`: of the encoder."""
    stages = gan_then_inverter(
        Inverter(on="generated", space=space),
        steps=steps,
        inverter_steps=inverter_steps,
        learning_rate=learning_rate,
        inverter_learning_rate=inverter_learning_rate,
    )
    return Recipe(name="aegan", model=AEGAN, config=config, stages=stages, batch_size=batch_size)
