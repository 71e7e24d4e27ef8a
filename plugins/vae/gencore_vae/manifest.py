"""What the family `vae` offers. Imports no torch: heavy modules are named, not imported."""

from __future__ import annotations

from gencore.spec import Family, Paper, SystemSpec

_AUTOENCODER = ("encoder", "generator", "sampler")
_TINY = {"data_shape": (1, 8, 8), "latent_dim": 3, "hidden": (16,), "batch_size": 8}
_TINY_CONV = {"data_shape": (1, 8, 8), "latent_dim": 3, "width": 4, "batch_size": 8}

family = Family(
    name="vae",
    summary="Variational autoencoders and their bounds",
    extra="vae",
    systems=(
        SystemSpec(
            name="vae",
            family="vae",
            summary="Gaussian decoder of fixed or learned diagonal covariance, reparametrised Gaussian posterior",
            paper=Paper(
                title="Auto-Encoding Variational Bayes", authors="Kingma & Welling", year=2014, arxiv="1312.6114"
            ),
            model="gencore_vae.vae:VAE",
            recipe="gencore_vae.vae:vae",
            roles=_AUTOENCODER,
            claims=("bound", "compiles"),
            tiny=_TINY,
        ),
    ),
)
