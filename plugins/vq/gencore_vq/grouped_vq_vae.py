"""Sliced VQ-VAE: several heads of codes a place (Kaiser, Roy, Vaswani, Parmar, Bengio, Uszkoreit & Shazeer 2018, "Fast
Decoding in Sequence Models Using Discrete Latent Variables", arXiv:1803.03382, section "Sliced Vector Quantization").

    z_e = [z_1; ...; z_G],   k_g = argmin_j ||z_g - e_gj||^2,   z_q = [e_1k_1; ...; e_Gk_G]
It is product quantisation (Jegou, Douze & Schmid 2011) inside a VQ-VAE: G books of K vectors of D / G numbers name K^G
points, and the distance splits into a sum over the groups, so that each look-up is among K codes only. Losses, moving
averages and restart are those of gencore_vq.vq_vae, book by book; G = 1 is the VQ-VAE.

Deviations: images and this family's convolutions instead of sentences; the prior is gencore_vq.parts.prior, which
draws all codes of the first group before those of the second.
"""

from __future__ import annotations

from gencore import Paper, Recipe, SystemSpec
from gencore_vq.vq_vae import GroupedBooks, VectorQuantization, VQVAEConfig, two_stages

SYSTEM = SystemSpec(
    name="grouped-vq-vae",
    summary="Several codes a place from books that share the channels out (product quantisation)",
    paper=Paper(
        title="Fast Decoding in Sequence Models Using Discrete Latent Variables",
        authors="Kaiser, Roy, Vaswani, Parmar, Bengio, Uszkoreit & Shazeer",
        year=2018,
        arxiv="1803.03382",
    ),
    model="gencore_vq.vq_vae:VQVAE",
    recipe="grouped_vq_vae",
    roles=("encoder", "generator", "sampler"),
    traits=("reconstruct",),
    claims=("compiles", "exact-data-parallel", "conditional"),
    tiny={
        "data_shape": (1, 8, 8),
        "num_codes": 8,
        "code_dim": 4,
        "width": 8,
        "prior_width": 8,
        "prior_layers": 1,
        "batch_size": 8,
        "groups": 2,
        "kmeans_iterations": 0,
    },
)


def grouped_vq_vae(
    *,
    config: VQVAEConfig = VQVAEConfig(data_shape=(1, 8, 8), num_codes=16, quantizer=GroupedBooks()),
    steps: int = 2000,
    prior_steps: int | None = None,
    batch_size: int = 64,
    commitment: float = 0.25,
    decay: float = 0.99,
    restart_below: float = 0.5,
    kmeans_iterations: int = 10,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`groups` books of `num_codes` codes, each for code_dim / groups channels."""
    objective = VectorQuantization(
        commitment=commitment, decay=decay, restart_below=restart_below, kmeans_iterations=kmeans_iterations
    )
    return two_stages(
        "grouped-vq-vae",
        config,
        objective,
        steps=steps,
        prior_steps=prior_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
    )
