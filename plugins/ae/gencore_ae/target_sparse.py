"""Sparse autoencoder, target form (Lee, Ekanadham & Ng 2007, "Sparse deep belief net model for visual area V2", NIPS;
Ng 2011, "Sparse autoencoder", CS294A lecture notes, section 3).

    E ||x - g(f(x))||^2 + beta sum_j [ rho log(rho / m_j) + (1 - rho) log((1 - rho) / (1 - m_j)) ]
with m_j the batch's mean of the sigmoid unit h_j: a unit is to be active with frequency rho over examples, whatever it
does on each. m_j is a statistic of the batch, so batches should have 128 examples or more; with several processes each
takes its own batch's mean.

Deviations: none.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gencore import Adam, Loss, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore_ae.parts.networks import DenseAutoencoder, DenseAutoencoderConfig
from gencore_ae.parts.penalties import bernoulli_divergence
from gencore_ae.parts.reconstruction import Reconstruction, cosine, one_phase

SYSTEM = SystemSpec(
    name="target-sparse-autoencoder",
    summary="Sigmoid units held to a mean activation rho",
    paper=Paper(
        title="Sparse Deep Belief Net Model for Visual Area V2",
        authors="Lee, Ekanadham & Ng",
        year=2007,
    ),
    model="DenseAutoencoder",
    recipe="target_sparse_autoencoder",
    roles=("encoder", "generator"),
    traits=("reconstruct",),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "code_dim": 16, "batch_size": 8},
)


class ActivationTarget:
    """weight * sum_j KL(rho || batch mean of h_j).

    Logs `divergence`: nats between the wanted and the mean activations; lower is better. `activation`: mean activation;
    neither way is better: it should be rho.
    """

    def __init__(self, rho: float, weight: float) -> None:
        check(0 < rho < 1, "rho", rho, "a mean activation between 0 and 1")
        check(weight >= 0, "weight", weight, "0 or more")
        self.rho, self.weight = rho, weight

    def __call__(self, model: Any, x: Tensor, code: Tensor) -> Loss:
        """A `Penalty`."""
        mean = code.mean(0)
        divergence = bernoulli_divergence(self.rho, mean)
        return Loss(self.weight * divergence, {"divergence": divergence, "activation": mean.mean()})


def target_sparse_autoencoder(
    *,
    config: DenseAutoencoderConfig = DenseAutoencoderConfig(
        data_shape=(1, 8, 8), code_dim=128, hidden=(), code_activation="sigmoid"
    ),
    steps: int = 3000,
    batch_size: int = 128,
    rho: float = 0.05,
    weight: float = 1.0,
    learning_rate: float = 1e-2,
) -> Recipe:
    """`weight` is beta, in the units of the squared error; `rho` the wanted mean activation."""
    return Recipe(
        name="target-sparse-autoencoder",
        model=DenseAutoencoder,
        config=config,
        stages=one_phase(
            Reconstruction(penalties=(ActivationTarget(rho, weight),)),
            Adam(learning_rate=learning_rate),
            steps=steps,
            schedule=cosine(steps),
        ),
        batch_size=batch_size,
    )
