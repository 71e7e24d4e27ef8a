"""Linear autoencoder: principal component analysis (Bourlard & Kamp 1988, "Auto-association by multilayer perceptrons
and singular value decomposition", Biological Cybernetics 59; Baldi & Hornik 1989, "Neural networks and principal
component analysis", Neural Networks 2(1)).

    min over A (k x D), B (D x k)  of  E ||B A (x - m) + m - x||^2,   m = E x
At the minimum, sum_{j > k} lambda_j, the columns of B span the first k eigenvectors of the covariance; every other
critical point is a saddle. The weights give the subspace, not the ordered axes. m is the average over the batches seen,
not a bias: a bias leaves the mean's own direction in the code, and training hangs at a saddle (60 degrees off).

Deviations: trained by Adam with a rate that decays to 0. With a constant rate the error looks perfect long before the
subspace is right: the angle stays near two degrees.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gencore import Adam, Loss, ModelConfig, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore.distributed import process_count, sum_over_processes
from gencore_ae.parts.networks import Autoencoder, Output, check_shape
from gencore_ae.parts.reconstruction import Reconstruction, cosine, one_phase

SYSTEM = SystemSpec(
    name="linear-autoencoder",
    summary="One linear layer each way: the principal subspace",
    paper=Paper(
        title="Neural Networks and Principal Component Analysis: Learning from Examples Without Local Minima",
        authors="Baldi & Hornik",
        year=1989,
    ),
    model="LinearAutoencoder",
    recipe="linear_autoencoder",
    roles=("encoder", "generator"),
    traits=("reconstruct",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (1, 8, 8), "code_dim": 4, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinearAutoencoderConfig(ModelConfig):
    """Data of any shape, flattened."""

    data_shape: tuple[int, ...]
    code_dim: int = 8
    output: Output = "linear"

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        check(self.code_dim > 0, "code_dim", self.code_dim, "a positive integer")
        check(self.output == "linear", "output", self.output, '"linear"')


class LinearAutoencoder(Autoencoder):
    """z = A (x - m), and back x = B z + m."""

    config_class = LinearAutoencoderConfig
    config: LinearAutoencoderConfig
    mean: Tensor

    def __init__(self, config: LinearAutoencoderConfig) -> None:
        super().__init__(config)
        size = math.prod(config.data_shape)
        self.register_buffer("mean", torch.zeros(config.data_shape))
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(size, config.code_dim, bias=False))
        self.decoder = nn.Sequential(nn.Linear(config.code_dim, size, bias=False), nn.Unflatten(1, config.data_shape))

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> codes (N, code_dim)."""
        check_shape(x, self.config.data_shape)
        return self.encoder(x - self.mean)

    def raw_output(self, z: Tensor) -> Tensor:
        """Codes (N, code_dim) -> (N, *data_shape)."""
        return self.decoder(z) + self.mean


class CentredReconstruction(Reconstruction):
    """Reconstruction around the running mean of everything seen in training, over all processes."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))

    def autoencoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"]."""
        return super().autoencoder(model, batch)._replace(seen=batch["x"].mean(0))

    def after_step(self, model: Any, phase: str, seen: Sequence[Tensor]) -> None:
        """m <- m + (mean of the step's batches - m) / (steps so far)."""
        mean = sum_over_processes(torch.stack(list(seen)).mean(0)) / process_count()
        self.steps += 1
        model.mean += (mean - model.mean) / self.steps


def linear_autoencoder(
    *,
    config: LinearAutoencoderConfig = LinearAutoencoderConfig(data_shape=(1, 8, 8)),
    steps: int = 2000,
    batch_size: int = 1400,
    learning_rate: float = 1e-2,
) -> Recipe:
    """The default batch is the whole of the bundled digits' training part."""
    return Recipe(
        name="linear-autoencoder",
        model=LinearAutoencoder,
        config=config,
        stages=one_phase(
            CentredReconstruction(), Adam(learning_rate=learning_rate), steps=steps, schedule=cosine(steps)
        ),
        batch_size=batch_size,
    )
