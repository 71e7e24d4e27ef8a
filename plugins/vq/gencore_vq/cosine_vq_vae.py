"""VQ-VAE with cosine codes (Yu, Li, Koh, Zhang, Pang, Qin, Ku, Xu, Baldridge & Wu 2022, "Vector-Quantized Image
Modeling with Improved VQGAN", arXiv:2110.04627, section 3.2).

    k(x) = argmin_j || z_e / ||z_e|| - e_j / ||e_j|| ||^2 = argmax_j cos(z_e, e_j)
Latents and codes are divided by their lengths before the look-up and in the loss, and the decoder sees the unit vector:
no code can be out of reach of latents that grew or shrank. With it the paper looks codes up in few dimensions
(factorised codes: the encoder's last layer projects to `code_dim`, the decoder's first one back). The codebook learns
by gradient as in the paper, or by moving averages ("ema"), which is spherical k-means.

Deviations: convolutions in place of vision transformers; squared error alone, without perceptual, adversarial and
logit-Laplace losses; codes that nobody uses begin anew under "ema" only.
"""

from __future__ import annotations

from gencore import Paper, Recipe, SystemSpec
from gencore_vq.vq_vae import SingleBook, VectorQuantization, VQVAEConfig, two_stages

SYSTEM = SystemSpec(
    name="cosine-vq-vae",
    summary="Latents and codes on the unit sphere: the nearest code has the highest cosine",
    paper=Paper(
        title="Vector-Quantized Image Modeling with Improved VQGAN",
        authors="Yu, Li, Koh, Zhang, Pang, Qin, Ku, Xu, Baldridge & Wu",
        year=2022,
        arxiv="2110.04627",
    ),
    model="gencore_vq.vq_vae:VQVAE",
    recipe="cosine_vq_vae",
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
    },
)


def cosine_vq_vae(
    *,
    config: VQVAEConfig = VQVAEConfig(
        data_shape=(1, 8, 8), code_dim=8, update="gradient", quantizer=SingleBook(unit_length=True)
    ),
    steps: int = 2000,
    prior_steps: int | None = None,
    batch_size: int = 64,
    commitment: float = 0.25,
    decay: float = 0.99,
    restart_below: float = 0.5,
    kmeans_iterations: int = 0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`decay` and `restart_below` are those of update="ema"."""
    objective = VectorQuantization(
        commitment=commitment, decay=decay, restart_below=restart_below, kmeans_iterations=kmeans_iterations
    )
    return two_stages(
        "cosine-vq-vae",
        config,
        objective,
        steps=steps,
        prior_steps=prior_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
    )
