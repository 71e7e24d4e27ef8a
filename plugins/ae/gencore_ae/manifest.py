"""What the family `ae` offers. Imports no torch: heavy modules are named, not imported."""

from __future__ import annotations

from gencore.spec import Family, Paper, SystemSpec

_ROLES = ("encoder", "generator")
_DENSE = "gencore_ae.networks:DenseAutoencoder"
_TINY = {"data_shape": (1, 8, 8), "code_dim": 4, "batch_size": 8}

family = Family(
    name="ae",
    summary="Autoencoders: deterministic codes",
    extra="ae",
    systems=(
        SystemSpec(
            name="linear-autoencoder",
            family="ae",
            summary="One linear layer each way: the principal subspace",
            paper=Paper(
                title="Neural Networks and Principal Component Analysis: Learning from Examples Without Local Minima",
                authors="Baldi & Hornik",
                year=1989,
            ),
            model=_DENSE,
            recipe="gencore_ae.linear:linear_autoencoder",
            roles=_ROLES,
            claims=("compiles", "exact-data-parallel"),
            tiny=_TINY,
        ),
    ),
)
