"""Deep autoencoder (Hinton & Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks", Science
313).

    squared     E ||x - g(f(x))||^2                                (faces, real data)
    bernoulli   the cross-entropy of the pixels' brightness, nats  (MNIST, the paper's own; gencore_ae.parts.losses)
A non-linear code of k numbers holds more than the first k principal components: on MNIST with k = 30 the paper has a
squared error (brightness in [0, 1]) of 3.00 an image against 13.87.

Deviations: no layer-by-layer pre-training by Boltzmann machines, plain Adam and ReLU do without; the rate decays.
"""

from __future__ import annotations

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore_ae.parts.losses import Error
from gencore_ae.parts.networks import DenseAutoencoder, DenseAutoencoderConfig
from gencore_ae.parts.reconstruction import Reconstruction, cosine, judged_by, one_phase

SYSTEM = SystemSpec(
    name="deep-autoencoder",
    summary="Multi-layer perceptrons with a narrow code; squared or Bernoulli error",
    paper=Paper(
        title="Reducing the Dimensionality of Data with Neural Networks",
        authors="Hinton & Salakhutdinov",
        year=2006,
    ),
    model="DenseAutoencoder",
    recipe="deep_autoencoder",
    roles=("encoder", "generator"),
    traits=("reconstruct",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (1, 8, 8), "code_dim": 4, "batch_size": 8, "hidden": (16,)},
)


def deep_autoencoder(
    *,
    config: DenseAutoencoderConfig = DenseAutoencoderConfig(data_shape=(1, 8, 8)),
    steps: int = 3000,
    batch_size: int = 128,
    error: Error = "squared",
    learning_rate: float = 1e-3,
) -> Recipe:
    """`hidden`: the encoder's widths; the paper's MNIST network is (1000, 500, 250)."""
    return Recipe(
        name="deep-autoencoder",
        model=DenseAutoencoder,
        config=judged_by(error, config),
        stages=one_phase(
            Reconstruction(error=error), Adam(learning_rate=learning_rate), steps=steps, schedule=cosine(steps)
        ),
        batch_size=batch_size,
    )
