"""Sparse autoencoder, L1 form (the code side of Olshausen & Field 1996, "Emergence of simple-cell receptive field
properties by learning a sparse code for natural images", Nature 381; Ranzato et al. 2006, "Efficient learning of sparse
representations with an energy-based model", NIPS).

    E ||x - g(f(x))||^2 + lambda sum_j |h_j|,   h = relu(W x + b)
The penalty alone is evaded by a small h and a large decoder, so each decoder column is scaled to length 1 after every
step.

Deviations: a feed-forward code where Olshausen & Field minimise over h; one layer each way.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gencore import Adam, Loss, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore_ae.parts.networks import DenseAutoencoder, DenseAutoencoderConfig
from gencore_ae.parts.penalties import absolute_sum, normalise_columns
from gencore_ae.parts.reconstruction import Reconstruction, cosine, one_phase

SYSTEM = SystemSpec(
    name="sparse-autoencoder",
    summary="An L1 penalty on the code, a dictionary of unit columns",
    paper=Paper(
        title="Emergence of Simple-Cell Receptive Field Properties by Learning a Sparse Code for Natural Images",
        authors="Olshausen & Field",
        year=1996,
    ),
    model="DenseAutoencoder",
    recipe="sparse_autoencoder",
    roles=("encoder", "generator"),
    traits=("reconstruct",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (1, 8, 8), "code_dim": 16, "batch_size": 8},
)


class L1Penalty:
    """weight * E sum_j |h_j|.

    Logs `l1`: mean sum of the code's magnitudes; lower is better. `active`: share of the code's numbers that are not 0;
    neither way is better: few is sparse, none is dead.
    """

    def __init__(self, weight: float) -> None:
        check(weight >= 0, "sparsity", weight, "0 or more")
        self.weight = weight

    def __call__(self, model: Any, x: Tensor, code: Tensor) -> Loss:
        """A `Penalty`."""
        total = absolute_sum(code)
        return Loss(self.weight * total, {"l1": total, "active": (code > 1e-3).float().mean()})


def unit_dictionary(model: DenseAutoencoder) -> None:
    """The decoder's columns to length 1."""
    normalise_columns(model.decoder[0])  # type: ignore[index]


def sparse_autoencoder(
    *,
    config: DenseAutoencoderConfig = DenseAutoencoderConfig(
        data_shape=(1, 8, 8), code_dim=128, hidden=(), code_activation="relu"
    ),
    steps: int = 3000,
    batch_size: int = 128,
    sparsity: float = 0.12,
    learning_rate: float = 1e-2,
) -> Recipe:
    """`sparsity` is lambda, in the units of the squared error."""
    return Recipe(
        name="sparse-autoencoder",
        model=DenseAutoencoder,
        config=config,
        stages=one_phase(
            Reconstruction(penalties=(L1Penalty(sparsity),), after=unit_dictionary),
            Adam(learning_rate=learning_rate),
            steps=steps,
            schedule=cosine(steps),
        ),
        batch_size=batch_size,
    )
