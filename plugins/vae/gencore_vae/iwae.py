"""IWAE (Burda, Grosse & Salakhutdinov 2016, "Importance Weighted Autoencoders", arXiv:1509.00519, equations 8, 13).

    maximise L_k = E log (1/k) sum_i p(x, z_i) / q(z_i | x),  z_1 ... z_k ~ q(z | x)
k = 1 is the VAE. Every model of this family estimates L_k by `bound(x, k)`; this recipe trains it. The pathwise
gradient weights each sample's by its normalised importance (equation 14), which is what autograd makes of log-mean-exp.

Deviations: as gencore_vae.bernoulli_vae; one stochastic layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gencore import Loss, Objective, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore.nn.likelihood import log_mean_exp
from gencore.noise import GlobalNoise
from gencore_vae.parts.binary import Binarization, binarize, check_binarized
from gencore_vae.parts.networks import VAEConfig
from gencore_vae.vae import VAE, one_player

SYSTEM = SystemSpec(
    name="iwae",
    summary="Trained on the importance-weighted bound of k samples",
    paper=Paper(
        title="Importance Weighted Autoencoders",
        authors="Burda, Grosse & Salakhutdinov",
        year=2016,
        arxiv="1509.00519",
    ),
    model="VAE",
    recipe="iwae",
    roles=("encoder", "generator", "sampler"),
    traits=("reconstruct", "bound"),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "hidden": (16,), "batch_size": 8},
)


class ImportanceWeightedBound(Objective):
    """Maximise L_k with k = `num_samples`. Memory and time grow with k; the encoder's gradient gets noisier with it.

    Logs `effective_samples`: how many of the k samples carry weight, 1 to k; higher is better: 1 says that the encoder
    is far off.
    """

    def __init__(self, *, num_samples: int, binarization: Binarization) -> None:
        super().__init__()
        check(num_samples >= 1, "num_samples", num_samples, "at least 1")
        self.num_samples, self.binarization = num_samples, binarization

    def autoencoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """-L_k in nats per example; the metric is the effective number of samples, 1 ... k."""
        x = binarize(batch["x"], self.binarization)
        noise = GlobalNoise(len(x), x.device)
        log_weights = model.log_weights(x, model.proposal(x), noise, self.num_samples)
        effective = 1 / log_weights.detach().softmax(0).square().sum(0)
        return Loss(-log_mean_exp(log_weights).mean(), {"effective_samples": effective.mean()})


def iwae(
    *,
    config: VAEConfig = VAEConfig(data_shape=(1, 8, 8), likelihood="bernoulli"),
    steps: int = 4000,
    batch_size: int = 64,
    num_samples: int = 5,
    binarization: Binarization = "dynamic",
    learning_rate: float = 1e-3,
) -> Recipe:
    """The paper's k is `num_samples`."""
    check_binarized(config.likelihood, binarization)
    objective = ImportanceWeightedBound(num_samples=num_samples, binarization=binarization)
    return Recipe(
        name="iwae",
        model=VAE,
        config=config,
        stages=one_player(objective, steps=steps, learning_rate=learning_rate, parts=("encoder", "decoder")),
        batch_size=batch_size,
    )
