"""What the family `vq` offers. Imports no torch: heavy modules are named, not imported."""

from __future__ import annotations

from gencore.spec import Family, Paper, SystemSpec

family = Family(
    name="vq",
    summary="Autoencoders with a discrete code book, and priors over the codes",
    extra="vq",
    systems=(
        SystemSpec(
            name="vq-vae",
            family="vq",
            summary="Discrete latents by nearest code, EMA codebook with restart, autoregressive prior",
            paper=Paper(
                title="Neural Discrete Representation Learning",
                authors="van den Oord, Vinyals & Kavukcuoglu",
                year=2017,
                arxiv="1711.00937",
            ),
            model="gencore_vq.vq_vae:VQVAE",
            recipe="gencore_vq.vq_vae:vq_vae",
            roles=("encoder", "generator", "sampler"),
            claims=("compiles", "exact-data-parallel", "conditional"),
            tiny={
                "data_shape": (1, 8, 8),
                "num_codes": 16,
                "code_dim": 4,
                "width": 8,
                "prior_width": 8,
                "prior_layers": 1,
                "batch_size": 8,
            },
        ),
    ),
)
