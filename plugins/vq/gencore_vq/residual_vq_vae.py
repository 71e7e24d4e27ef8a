"""VQ-VAE with residual codes (Zeghidour, Luebs, Omran, Skoglund & Tagliasacchi 2021, "SoundStream: An End-to-End Neural
Audio Codec", arXiv:2107.03312, section III-C): each book codes what the ones before it left over.

    r_1 = z_e,   q_i = nearest code of book i to r_i,   r_(i+1) = r_i - q_i,   z_q = q_1 + ... + q_S
From the paper: books are moving averages, begin at k-means centres of the first batch, and codes that fall out of use
begin anew at an input of the batch; in training each example is decoded from its first n books, n uniform in 1 ... S,
so that one model serves S bit rates: `generate` takes the codes of the first books alone.

Deviations: images and this family's convolutions; squared error in place of the adversarial and spectral losses;
commitment to the sum of the n books decoded; books that are left out in decoding still follow their rows; the prior is
gencore_vq.parts.prior, coarse codes first.
"""

from __future__ import annotations

from gencore import Paper, Recipe, SystemSpec
from gencore_vq.vq_vae import ResidualBooks, VectorQuantization, VQVAEConfig, two_stages

SYSTEM = SystemSpec(
    name="residual-vq-vae",
    summary="Books in a row, each coding what the ones before left over; any number of them decodes",
    paper=Paper(
        title="SoundStream: An End-to-End Neural Audio Codec",
        authors="Zeghidour, Luebs, Omran, Skoglund & Tagliasacchi",
        year=2021,
        arxiv="2107.03312",
    ),
    model="gencore_vq.vq_vae:VQVAE",
    recipe="residual_vq_vae",
    roles=("encoder", "generator", "sampler"),
    traits=("reconstruct",),
    claims=("compiles", "conditional"),
    tiny={
        "data_shape": (1, 8, 8),
        "num_codes": 8,
        "code_dim": 4,
        "width": 8,
        "prior_width": 8,
        "prior_layers": 1,
        "batch_size": 8,
        "books": 2,
        "kmeans_iterations": 2,
    },
)


def residual_vq_vae(
    *,
    config: VQVAEConfig = VQVAEConfig(data_shape=(1, 8, 8), num_codes=16, quantizer=ResidualBooks()),
    steps: int = 2000,
    prior_steps: int | None = None,
    batch_size: int = 64,
    commitment: float = 0.25,
    decay: float = 0.99,
    restart_below: float = 0.5,
    kmeans_iterations: int = 10,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`books` books of `num_codes` codes in a row; `book_dropout`: train for any number of them."""
    objective = VectorQuantization(
        commitment=commitment, decay=decay, restart_below=restart_below, kmeans_iterations=kmeans_iterations
    )
    return two_stages(
        "residual-vq-vae",
        config,
        objective,
        steps=steps,
        prior_steps=prior_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
    )
