"""Linear autoencoder: principal component analysis (Bourlard & Kamp 1988, "Auto-association by multilayer perceptrons
and singular value decomposition", Biological Cybernetics 59; Baldi & Hornik 1989, "Neural networks and principal
component analysis", Neural Networks 2(1)).

    min over A (k x D), B (D x k), a, b of  E ||B (A x + a) + b - x||^2
At the minimum, sum_{j > k} lambda_j, the columns of B span the first k eigenvectors of the covariance; every other
critical point is a saddle. The weights give the subspace, not the ordered axes. The biases do the centring: the best
B a + b is (1 - B A) times the mean.

Deviations: trained by Adam with a rate that decays to 0. With a constant rate the error looks perfect long before the
subspace is right: the angle stays near two degrees.
"""

from __future__ import annotations

from gencore import Adam, Recipe
from gencore_ae.networks import DenseAutoencoder, DenseAutoencoderConfig
from gencore_ae.reconstruction import Reconstruction, cosine, one_phase


def linear_autoencoder(
    *,
    data_shape: tuple[int, ...] = (1, 8, 8),
    steps: int = 2000,
    batch_size: int = 1400,
    code_dim: int = 8,
    learning_rate: float = 1e-2,
) -> Recipe:
    """The default batch is the whole of the bundled digits' training part."""
    return Recipe(
        name="linear-autoencoder",
        model=DenseAutoencoder,
        config=DenseAutoencoderConfig(data_shape=data_shape, code_dim=code_dim, hidden=()),
        stages=one_phase(Reconstruction(), Adam(learning_rate=learning_rate), steps=steps, schedule=cosine(steps)),
        batch_size=batch_size,
    )
