"""Overcomplete and regularised autoencoder (Goodfellow, Bengio & Courville 2016, "Deep Learning", MIT Press, sections
14.1 and 14.2).

    E ||x - g(f(x))||^2 + Omega,   code_dim >= the numbers of x
Without Omega the code has room for x itself: the network learns the identity, passes noise through and rebuilds what it
has never seen. `regulariser`:
    none       Omega = 0, the counter-example
    noise      x is seen through N(0, strength^2): training with noise is Tikhonov regularisation of r = g o f (Bishop
               1995, "Training with noise is equivalent to Tikhonov regularization")
    jacobian   Omega = strength ||df / dx||_F^2, estimated with one probe (gencore_ae.parts.penalties)
"""

from __future__ import annotations

import math
from typing import Any, Literal

from torch import Tensor

from gencore import Adam, Loss, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore_ae.parts.corruption import corruption
from gencore_ae.parts.networks import DenseAutoencoder, DenseAutoencoderConfig
from gencore_ae.parts.penalties import estimated_jacobian
from gencore_ae.parts.reconstruction import Reconstruction, cosine, one_phase

SYSTEM = SystemSpec(
    name="overcomplete-autoencoder",
    summary="A code larger than the data, held back by a regulariser",
    paper=Paper(
        title="Deep Learning, chapter 14",
        authors="Goodfellow, Bengio & Courville",
        year=2016,
    ),
    model="DenseAutoencoder",
    recipe="overcomplete_autoencoder",
    roles=("encoder", "generator"),
    traits=("reconstruct",),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "code_dim": 64, "batch_size": 8},
)

Regulariser = Literal["none", "noise", "jacobian"]


class JacobianPenalty:
    """weight * E ||df / dx||_F^2 by Hutchinson's estimate.

    Logs `jacobian`: mean squared norm of df / dx; lower is better, as far as the reconstruction allows.
    """

    def __init__(self, weight: float, *, probes: int = 1) -> None:
        self.weight, self.probes = weight, probes

    def __call__(self, model: Any, x: Tensor, code: Tensor) -> Loss:
        """A `Penalty`."""
        norm = estimated_jacobian(model.encode, x, self.probes).mean()
        return Loss(self.weight * norm, {"jacobian": norm})


def regularised(regulariser: Regulariser, strength: float) -> Reconstruction:
    """The objective with Omega by name."""
    check(strength >= 0, "strength", strength, "0 or more")
    if regulariser == "jacobian":
        return Reconstruction(penalties=(JacobianPenalty(strength),), double_backward=("encoder",))
    check(regulariser in ("none", "noise"), "regulariser", regulariser, '"none", "noise" or "jacobian"')
    return Reconstruction(corrupt=corruption("gaussian", strength) if regulariser == "noise" else None)


def overcomplete_autoencoder(
    *,
    config: DenseAutoencoderConfig = DenseAutoencoderConfig(
        data_shape=(1, 8, 8), code_dim=256, hidden=(), code_activation="relu"
    ),
    steps: int = 4000,
    batch_size: int = 128,
    regulariser: Regulariser = "noise",
    strength: float = 0.5,
    learning_rate: float = 3e-3,
) -> Recipe:
    """`strength`: the noise's standard deviation, or the Jacobian's weight."""
    size = math.prod(config.data_shape)
    check(config.code_dim >= size, "code_dim", config.code_dim, f"at least {size}, the numbers of an example")
    return Recipe(
        name="overcomplete-autoencoder",
        model=DenseAutoencoder,
        config=config,
        stages=one_phase(
            regularised(regulariser, strength), Adam(learning_rate=learning_rate), steps=steps, schedule=cosine(steps)
        ),
        batch_size=batch_size,
    )
